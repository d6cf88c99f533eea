"""Reconciliation: what the engine believes was executed against what the venue itself reports.

    exec ring --------> executions here --.
                                          +--> Comparison --> breaks --> status file --> supervisor: hold, notice
    drop copy session -> executions there-'         ^
    positions query ---> positions there -----------'      at the start, every interval, at the end

    wire.py        the simulator's drop copy: its messages
    client.py      a session that listens to it
    comparison.py  both sides, and what is a break
    status.py      what was found, on disk; what people ask for
    process.py     the process
    watch.py       the supervisor's part: holds, releases, the mode word
    view.py        what `hotpath reconcile` shows

A break is never mended here: it holds the instrument (positions may only be reduced) until a person clears it.
"""
