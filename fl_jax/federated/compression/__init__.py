"""Lossy codes for what participants send: quantised, rotated, sparse; error feedback.

local = base.compressed(client.make(...), rotation.eden(bits=1))
learn = round.make(client=local, ...)
"""
