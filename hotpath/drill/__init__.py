"""Rehearsals: what an engine would do on this host when it is killed, measured before it matters.

wire.py      a tap on the order session's wire, which knows what had arrived at any instant
engine.py    an engine and a venue to rehearse with
rehearse.py  `hotctl drill kill CONFIG`
"""
