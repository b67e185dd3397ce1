"""Federated learning: clients, rounds, aggregators, attacks, defences."""
