"""Transformer-based geocoding [Solaz & Shalumov 2023]."""
