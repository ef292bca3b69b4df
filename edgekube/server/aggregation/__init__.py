"""Other API servers behind this one: APIServices followed, checked, forwarded to, and told of in discovery."""
