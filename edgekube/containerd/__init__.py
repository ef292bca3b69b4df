"""The container runtime: CRI client, supervised instance, images."""
