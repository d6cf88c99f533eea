"""Where the nanoseconds of one event go: ``python -m bench.profile``."""
