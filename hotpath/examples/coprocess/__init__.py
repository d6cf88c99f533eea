"""Foreign programs beside the engine: the same small quoter in C and in Python, and a bridge for NautilusTrader."""
