"""Rounds without waiting: updates count as they arrive, however old the model that they are of.

`delays` says how long a participant takes, `arrivals` who arrives when, `staleness` what an old
update is worth, and `buffered` puts them in the place of a round's sampler.
"""
