"""Resource quotas: what an object uses, which quotas count it, and whether they have room."""
