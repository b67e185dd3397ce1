"""Chemistry of protoplanetary disks: structure, networks, a population, emulators, lines, fits."""

from algorithmic.disks.chemistry import integrate
from algorithmic.disks.readers import read_network

__all__ = ["integrate", "read_network"]
