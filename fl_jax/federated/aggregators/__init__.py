"""Aggregators: how a server turns the updates of a round into one step."""
