"""Layers and networks: plain pytrees of arrays and pure `apply` functions."""
