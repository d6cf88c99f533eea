"""``hotpath doctor``: what this machine does to an engine, and the command that mends it.

    machine.py      what the kernel says, read under a root that a test may fabricate
    needs.py        what the engine asks of it
    processors.py   memory.py   kernel.py   network.py   clocks.py       pure checks: machine, needs -> findings
    measure.py      spins for a while: gaps on each processor, one cache line between two
    measured.py     findings about what was measured
    view.py         for people; `--json` for machines

The doctor changes nothing, needs no privilege, and guesses nothing: what cannot be read is "unknown", with
why, and an effect in nanoseconds stands only where it was measured or follows from the setting.
"""
