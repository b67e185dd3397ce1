"""Rounds without waiting: updates count as they arrive, however old the model that they are of.

`delays` says how long a participant takes, `arrivals` who arrives when, `staleness` what an old
update is worth, and `buffered` puts them in the place of a round's sampler:

    who = arrivals.arrivals(1000, concurrency=100, buffer=10, delay=delays.half_normal())
    late = buffered.buffered(who, versions=buffered.needed(who, key, steps))
    learn = round.make(client=local, sampler=late, aggregator=mean.mean(weight="uniform"))
"""
