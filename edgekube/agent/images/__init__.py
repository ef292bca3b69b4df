"""Images of this node: who may have them, when they are pulled, when they go."""
