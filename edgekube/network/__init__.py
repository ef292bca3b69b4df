"""Pod network, service proxy, DNS: plan text, then apply it."""
