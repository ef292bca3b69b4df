"""Certificate authority, certificates, keys and tokens."""
