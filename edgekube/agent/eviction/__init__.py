"""Pods that must go so that the node lives."""
