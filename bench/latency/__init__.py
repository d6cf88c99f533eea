"""The latency gate: did a change make a stage or the path slower? ``python -m bench.latency``."""
