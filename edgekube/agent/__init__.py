"""This node's pods: plan(desired, observed, now) gives steps, execute(step) does them."""
