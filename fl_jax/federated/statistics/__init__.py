"""What rules compute of a stack of updates: inner products, order statistics, groups."""
