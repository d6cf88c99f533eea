"""What people and circumstances may do to an engine that runs: causes and modes, kill, leases, requests, arming.

    causes.py      the table of causes, from which docs/modes.md is made
    kill_watch.py  what the supervisor does about kills
    requests.py    what the control plane asks of the supervisor; answer.py: what it is answered
    paths.py       where an engine keeps the files that outlive it

The control plane itself is `hotctl`, which nothing here imports.
"""
