"""What the updates of collaborative learning give away.

Melis, Song, De Cristofaro, Shmatikov, "Exploiting Unintended Feature Leakage in Collaborative
Learning", S&P 2019.
"""
