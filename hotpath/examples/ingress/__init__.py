"""Feed handlers of one's own, in Python and in C, that push the market over ZeroMQ (docs/ingress.md)."""
