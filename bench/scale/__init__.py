"""How cost grows: with instruments, depth, rate, strategies, readers and shards. See ``__main__``."""
