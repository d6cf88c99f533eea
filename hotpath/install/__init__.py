"""`hotpath install`: what a host needs so that systemd runs engines; it can be shown, made again and taken back.

`plan.py` says what shall be there, `apply.py` compares it with what is there and makes it so. Made files stand in a
manifest with their hashes: what people changed since is kept and named, never overwritten.
"""
