"""What training gives away, and how much: inference attacks, shuffling, accounting."""
