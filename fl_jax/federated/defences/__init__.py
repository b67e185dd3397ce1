"""Defences: what stands between the updates and the global model."""
