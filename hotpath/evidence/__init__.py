"""Evidence: what a trading day was run under and what was done in it, signed, for whoever must be shown.

pack.py      journals of a day -> one zip file: limits, refusals, kills, orders as a chain, builds; a manifest over all
keys.py      the Ed25519 key that signs
verify.py    the pack against its manifest, the manifest against a public key; needs nothing of hotpath
view.py      both on the terminal
"""
