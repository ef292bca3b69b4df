"""The verbs on resources, and the only door to the store."""
