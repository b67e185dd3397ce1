"""The same network on edge lists: memory and work grow with the edges, so that graphs of 1,600
nodes are no burden. The tasks are those of SALSA-CLRS [Minder et al. 2023]."""
