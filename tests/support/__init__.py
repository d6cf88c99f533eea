"""What the tests of the path share: memory, rings and stages as a test drives them, and slow oracles."""
