"""Volumes: binding, provisioning, protection, expansion and attachment."""
