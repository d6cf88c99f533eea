"""``python -m hotlab``."""

from hotlab.cli import main

main()
