"""Membership inference against machine-learning models."""
