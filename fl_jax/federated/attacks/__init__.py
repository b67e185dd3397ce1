"""Attacks: what compromised participants send instead of an honest update."""
