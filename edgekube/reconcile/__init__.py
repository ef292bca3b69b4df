"""From watch to key to plan to calls: the engine under every controller."""
