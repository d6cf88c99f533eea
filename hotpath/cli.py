"""The command line ``hotpath``."""


def main() -> None:
    """Entry point of the console script."""
