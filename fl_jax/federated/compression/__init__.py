"""Lossy codes for what participants send: quantised, rotated, sparse; error feedback.

A client that sends in one is a client like any other:

    local = base.compressed(client.make(...), rotation.eden(bits=1))
    learn = round.make(client=local, ...)
"""
