"""mDNS: announce and browse."""
