"""hotpath beside what people use today: ``python -m bench.peers``, ``make peers``."""
