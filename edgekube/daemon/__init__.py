"""The composition root: what a server and its node are made of, and in which order they start and stop."""
