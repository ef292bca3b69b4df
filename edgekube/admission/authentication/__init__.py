"""Who is let in by an AuthenticationConfiguration: identity providers, and what nobody in particular may ask."""
