"""The seats beside the path, read from an engine's segments: who has each, what it asked for, why it was cut."""

from __future__ import annotations

from msgspec import Struct

from ffi import lib
from ffi.dtypes import counter_names, enum_names
from hotpath import histograms, segments
from hotpath.errors import SegmentMissingError
from hotpath.segments import Segment
from hotpath.topology import answer_segment, seat_client_segment, seat_segment, side_segment

SEAT_PREFIX = seat_segment("")


class SeatStat(Struct, frozen=True):
    """One seat."""

    state: str  # "empty", "taken" or "cut_off"
    reason: str  # of the last cut; empty while the seat is taken, and before the first
    pid: int  # of whoever took it last; 0: nobody has
    account: int
    strategy: int
    open_orders: int
    requests: int
    refused: int  # by the seat itself; what the gate refuses is risk's to count
    reports: int
    reports_lost: int
    attachments: int
    cuts: int
    python: dict[str, int]  # counters of a Python strategy; empty for a foreign program
    answers: int  # of a Python strategy: requests that answered a market event, and the spans from event to request
    answer_p50_ns: int
    answer_p99_ns: int
    answer_p999_ns: int


class SeatsView:
    """The mapped pages of an engine's seats, read-only."""

    def __init__(self, engine: str) -> None:
        self.engine = engine
        found = [info.segment for info in segments.list_segments(engine) if info.kind == lib.SEGMENT_SEAT]
        names = sorted(name.removeprefix(SEAT_PREFIX) for name in found)
        self._pages = {name: self._attach(seat_segment(name), lib.SEGMENT_SEAT) for name in names}
        self._clients = {name: self._attach(seat_client_segment(name), lib.SEGMENT_SEAT_CLIENT) for name in names}
        self._sides: dict[str, Segment] = {}
        self._answers: dict[str, Segment] = {}
        for name in names:
            try:
                self._sides[name] = self._attach(side_segment(name), lib.SEGMENT_STAGE)
                self._answers[name] = self._attach(answer_segment(name), lib.SEGMENT_HISTOGRAMS)
            except SegmentMissingError:
                continue  # a foreign program's

    def _attach(self, segment: str, kind: int) -> Segment:
        return segments.attach(self.engine, segment, kind, allow_dead=True)

    def close(self) -> None:
        """Unmap everything."""
        for mapped in (self._pages, self._clients, self._sides, self._answers):
            for segment in mapped.values():
                segment.close()

    def snapshot(self) -> dict[str, SeatStat]:
        """One look, by name."""
        found = {name: self._seat(name) for name in self._pages}
        order = sorted(found, key=lambda name: int(self._pages[name].view("seat_page")[0]["index"]))
        return {name: found[name] for name in order}

    def _seat(self, name: str) -> SeatStat:
        page = self._pages[name].view("seat_page")[0]
        taken = int(page["state"]) == lib.SEAT_TAKEN
        reason = enum_names("seat_cut").get(int(page["reason"]), "?").removeprefix("SEAT_CUT_").lower()
        python = {}
        answers = [self._answers[name].view("histogram")] if name in self._answers else []
        answer = histograms.merge([each for each in answers if each["total_count"][0]], "strategy_answer")
        if name in self._sides:
            counter = self._sides[name].view("stage_page")[0]["counter"]
            python = {each: int(counter[index]) for index, each in counter_names("strategy").items()}
        return SeatStat(
            state=enum_names("seat_state").get(int(page["state"]), "?").removeprefix("SEAT_").lower(),
            reason="" if taken or reason == "none" else reason,
            pid=int(self._clients[name].view("seat_client_page")[0]["pid"]),
            python=python,
            answers=int(answer["total_count"][0]),
            answer_p50_ns=histograms.value_at(answer, 50.0),
            answer_p99_ns=histograms.value_at(answer, 99.0),
            answer_p999_ns=histograms.value_at(answer, 99.9),
            **{
                key: int(page[key])
                for key in (
                    "account",
                    "strategy",
                    "open_orders",
                    "requests",
                    "refused",
                    "reports",
                    "reports_lost",
                    "attachments",
                    "cuts",
                )
            },
        )
