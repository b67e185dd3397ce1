"""Exploiting Unintended Feature Leakage in Collaborative Learning (Melis et al., S&P 2019)."""
