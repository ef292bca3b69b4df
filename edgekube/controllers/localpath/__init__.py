"""The StorageClass local-path: volumes that are directories of the node where their pod runs."""
