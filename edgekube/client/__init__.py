"""The registry's verbs over mutual TLS, for agents and the command line."""
