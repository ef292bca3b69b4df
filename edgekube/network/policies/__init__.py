"""NetworkPolicy in the packet filter: what is allowed (model), who is who (pods), as text (rules, table), and kept so."""
