"""What people and circumstances may do to an engine that runs: causes and modes, kill, leases, requests, arming.

    causes.py      the table of causes, from which docs/modes.md is made
    guards.py      what the supervisor measures of the engine itself: clock, path, a lost day, a failed model
    loss.py        the file that keeps a lost day over restarts
    kill_watch.py  what the supervisor does about kills
    requests.py    what the control plane asks of the supervisor; answer.py: what it is answered
    disconnect.py  what each gateway kind's venue does with open orders when a session ends
    paths.py       where an engine keeps the files that outlive it

The control plane itself is `hotctl`, which nothing here imports.
"""
