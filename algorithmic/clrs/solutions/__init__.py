"""Of every problem with several right answers, one near a given answer."""
