"""One kind, one file: plan(view, now) gives calls. Pure; controllers do not know each other."""
