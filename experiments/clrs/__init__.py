"""A Generalist Neural Algorithmic Learner [Ibarz et al. 2022, arXiv 2209.11142]."""
