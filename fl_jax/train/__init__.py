"""Training: state, step, optimizer, mesh, cohort, checkpoint, loop."""
