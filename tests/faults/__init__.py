"""The fault matrix: real engines against a simulator that misbehaves, judged by what was on the wire."""
