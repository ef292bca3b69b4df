"""Admission policies: what they decide of a request, and what they make of its object. Pure; facts come from the registry."""
