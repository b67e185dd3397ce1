"""Learning what programs compute: algorithmic reasoning, exact neighbours, disk chemistry."""
