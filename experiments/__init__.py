"""One folder per published system: config, run, report, results."""
