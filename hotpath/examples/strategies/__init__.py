"""Three strategies, one of each way: by event, by batch, compiled. docs/strategies.md tells when to take which."""
