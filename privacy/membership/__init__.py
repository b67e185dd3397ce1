"""Membership inference: was this record in the training set?

`target` is the black box, `shadow` trains models that imitate it, `attack_model` and
`synthesis` are the attack of Shokri et al. (S&P 2017); `lira`, `rmia`, `bavaria`, `thresholds`,
`quantile` and `label_only` are what came after, on one table of scores (`table`) that may come
from anywhere; `metrics` judges them, `audit` turns guesses into lower bounds on eps, and
`language` scores texts by their tokens' likelihoods.
"""
