"""The versions that people run, tried: ``make test-matrix``."""
