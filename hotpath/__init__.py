"""hotpath: a shared-memory, low-latency co-process engine for trading.

Processes, configuration, reference data, venues and replay. The command line is ``hotpath.cli``; a
running stage imports none of it.
"""

__version__ = "0.1.0"
