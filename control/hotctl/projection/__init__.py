"""The projection: what the journal holds, as tables for people and programs that ask in SQL.

    journal (every run of an engine) --projector--> SQLite or PostgreSQL

    tables.py      the tables                        database.py   reaching it, making it ready, rows in bulk
    rows.py        events as rows                    migrations/   how tables become this release's
    orders.py      what became of each order         run.py        one run, a transaction at a time
    projector.py   all runs in turn, outages         process.py    beside an engine
    status.py      how far behind; snapshots on demand; from nothing again

It reads files and never a ring: no outage, lock or loss of the database can touch the path.
"""
