"""Custom resources at work: which definitions there are, what they serve, and how their objects are read and written."""
