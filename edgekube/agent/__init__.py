"""This node's pods: plan what containerd should do, do it, and tell the API."""
