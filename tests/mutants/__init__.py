"""Bugs planted in the gate, one at a time: each must make a test fail.

plant.py     where bugs can be planted: in each check, dropped or one off; and by hand in what the checks rest on
kernel.py    a gate compiled with one of them, apart from the extension
__main__.py  all of them: the list, and how many were caught
"""
