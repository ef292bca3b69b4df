"""What runs at build time only: it derives files that are never committed."""
