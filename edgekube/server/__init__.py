"""HTTP in front of the registry: identity, router, verbs, response or watch stream; discovery, Tables, tunnels to agents."""
