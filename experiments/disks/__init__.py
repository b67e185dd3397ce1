"""Fast chemistry of protoplanetary disks by nearest neighbours (Smirnov-Pinchukov et al. 2022)."""
