"""bench: measurements, one file per question; `python -m bench` runs them all and prints the tables."""
