"""Privacy amplification by shuffling: bounds, budgets, shuffled federated learning."""
