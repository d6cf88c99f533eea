"""``python -m hotctl``."""

from hotctl.cli import main

main()
