"""Subresources that are no plain change of the object: scale, binding, eviction, token."""
