"""Pods that a node runs of its own accord, from files, whether or not there is an API."""
