"""Free text to a place on Earth: S2 cells, an exact posterior over them, a gazetteer, a service."""
