"""Admission policies in force: which there are, what they are asked with, and the two plugins of registry.gate that ask them."""
