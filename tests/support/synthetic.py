"""A seeded market in a file: what replays and engines read where no recorded day is at hand."""

from __future__ import annotations

from hotpath.generated import write_generated_day as write_synthetic_day

__all__ = ["write_synthetic_day"]
