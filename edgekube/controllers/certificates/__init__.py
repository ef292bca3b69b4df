"""Certificate signing requests: who is let have one without a human, what the built-in signers sign, and what is swept away."""
