"""``python -m hotpath``: the command line."""

from hotpath.cli import main

main()
