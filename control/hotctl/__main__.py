"""``hotctl``, and ``python -m hotctl``.

A kill on this host is taken out before anything is imported that it can do without: `hotctl kill --local` has its word
in shared memory while a command line with colours would still be loading (docs/kill.md).
"""

import sys


def main() -> None:
    """Entry point of the console script."""
    if "kill" in sys.argv and "--local" in sys.argv:
        from hotctl.kill_local import main as kill

        sys.exit(kill(sys.argv[1:]))
    from hotctl.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
