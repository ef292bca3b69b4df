"""What may enter: authorize, default, mutate, validate, quota. Decisions are pure."""
