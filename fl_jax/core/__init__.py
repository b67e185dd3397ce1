"""The floor under everything: trees, keys, types, numerics. Depends on JAX alone."""
