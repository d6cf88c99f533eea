"""How a call is refused: a status for machines, a sentence for people."""

from __future__ import annotations

import grpc


class Refusal(Exception):  # noqa: N818 - an answer, not a failure
    """What the caller is told instead of a result."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def no_such(text: str) -> Refusal:
    """What was asked for is no such thing."""
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, text)


def not_now(text: str) -> Refusal:
    """It does not hold now."""
    return Refusal(grpc.StatusCode.FAILED_PRECONDITION, text)


def denied(text: str) -> Refusal:
    """This identity may not."""
    return Refusal(grpc.StatusCode.PERMISSION_DENIED, text)
