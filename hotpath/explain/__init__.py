"""Explain: the whole story of one order, from the venue's bytes to its fills, out of a journal.

retell.py   what the decision saw, made again by the path's own kernels: book, features, gate
story.py    the story's parts: plain structures, the same for the terminal and for `--json`
tell.py     from a journal and an order id to a story
wire.py     venue bytes in words: ITCH messages, order frames
view.py     the story as a page on the terminal
"""
