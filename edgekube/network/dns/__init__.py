"""The cluster's DNS on this node: names of Services and pods, and a forwarder for everything else."""
