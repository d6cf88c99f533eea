"""Programs to copy from: feed handlers, co-processes and strategies of one's own. The engine imports none of them."""
