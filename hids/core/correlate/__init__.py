"""Windows: what a composite rule remembers, per (rule identity, key), and how an event's residual is answered."""
