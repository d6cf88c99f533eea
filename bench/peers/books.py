"""Book building and decoding beside the ITCH packages, on one generated file.

    itch-book   file -> table of best bids and offers          hotpath: programs/bbo_table.c, the same table
    itchfeed    file -> one Python object a message            hotpath: one cffi call a message, the same fields

Both tables are held to each other, row by row. nasdaq-protocols makes its ITCH classes from definitions that the
user supplies and brings none, so there is nothing to compare.
"""

from __future__ import annotations

import datetime as dt
import gc
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.harness import OUT, BenchError, Options, compile_program, flow_file, json_lines, run_program
from bench.peers.alone import alone
from bench.peers.rows import Figures

INSTRUMENTS = 64
DAY = dt.date(2020, 1, 30)
ROW = np.dtype([(name, "i8") for name in ("time_ns", "seq", "locate", "bid_px", "bid_sz", "ask_px", "ask_sz")])
TOP = ("bid_px", "bid_sz", "ask_px", "ask_sz")


def feed(options: Options, *, messages: int) -> Path:
    """The day that both read."""
    return flow_file(messages=messages, instruments=INSTRUMENTS, live_orders=min(100_000, messages // 10))


# ---- the table -----------------------------------------------------------------------------------------------------


def table(options: Options) -> Figures:
    """Messages a second, from file to table; the rows are equal."""
    path = feed(options, messages=options.pick(smoke=50_000, quick=1_000_000, full=5_000_000))
    rounds = options.pick(smoke=1, quick=3, full=5)
    target, other = OUT / "bbo-hotpath.bin", OUT / "bbo-itch-book.npy"
    program = compile_program(
        "peers/programs/bbo_table.c", "book", "book_batch", "itch", "itch_file", "moldudp", "pcap"
    )
    text = run_program(program, path, rounds, target, 200_000, cpu=options.engine_cpu)
    (ours,) = json_lines(text)
    theirs = alone(
        "bench.peers.books:itch_book_table", cpu=options.engine_cpu, path=str(path), rounds=rounds, target=str(other)
    )
    mine, its = np.fromfile(target, ROW), np.load(other)
    if theirs["messages"] != ours["messages"] or not np.array_equal(changes(mine), changes(its)):
        raise BenchError("itch-book and hotpath make different tables of one file")
    return Figures(
        ours=ours["messages"] / ours["seconds"],
        theirs=theirs["messages"] / theirs["seconds"],
        verified=f"{len(changes(mine)):,} rows equal",
    )


def itch_book_table(path: str, rounds: int, target: str) -> dict[str, Any]:
    """itch-book, as its page shows it: `Feed.batches` of the `bbo` table, prices as integers."""
    import itch_book

    best, messages, batches = float("inf"), 0, []
    for _ in range(rounds):
        began = time.perf_counter()
        day = itch_book.Feed(path, date=DAY, price_type="fixed")
        batches = [batch.bbo for batch in day.batches(tables=("bbo",))]
        best = min(best, time.perf_counter() - began)
        messages = dict(day.stats or {})["messages"]
    rows = np.zeros(sum(len(batch["seq"]) for batch in batches), ROW)
    for name in ROW.names or ():
        rows[name] = np.concatenate([batch["ts_event" if name == "time_ns" else name] for batch in batches])
    np.save(target, rows)
    return {"messages": messages, "seconds": best}


def changes(rows: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """(locate, number of the message, top) where price or quantity of a top changed: itch-book also has a row where
    only the number of orders did."""
    ordered = rows[np.argsort(rows["locate"], kind="stable")]
    columns = np.column_stack([ordered[name] for name in ("locate", "seq", *TOP)]).astype(np.int64)
    kept = np.ones(len(columns), bool)
    kept[1:] = (columns[1:, 2:] != columns[:-1, 2:]).any(axis=1) | (columns[1:, 0] != columns[:-1, 0])
    return np.asarray(columns[kept])


# ---- message by message --------------------------------------------------------------------------------------------


def decode(options: Options) -> Figures:
    """Messages a second, each to fields that Python reads; sums over the fields are equal."""
    path = feed(options, messages=options.pick(smoke=20_000, quick=100_000, full=500_000))
    rounds = options.pick(smoke=1, quick=3, full=5)
    ours, theirs = (
        alone(f"bench.peers.books:{name}", cpu=options.engine_cpu, path=str(path), rounds=rounds)
        for name in ("hotpath_decode", "itchfeed_decode")
    )
    if ours["sums"] != theirs["sums"]:
        raise BenchError(f"itchfeed and hotpath read a file differently: {theirs['sums']} and {ours['sums']}")
    return Figures(
        ours=ours["messages"] / ours["seconds"],
        theirs=theirs["messages"] / theirs["seconds"],
        verified=f"{ours['messages']:,} messages, sums equal",
    )


def hotpath_decode(path: str, rounds: int) -> dict[str, Any]:
    """`itch_decode` of each message, its time, order and shares read from Python."""
    from ffi import ffi, lib
    from hotpath.captures import itch_messages

    message = ffi.new("itch_message *")
    decode_one, best, sums, messages = lib.itch_decode, float("inf"), [0, 0, 0], 0
    for _ in range(rounds):
        gc.collect()
        sums, messages = [0, 0, 0], 0
        began = time.perf_counter()
        for wire in itch_messages(Path(path)):
            if decode_one(wire, len(wire), message):
                raise BenchError("a message was refused")
            messages += 1
            sums[0] += message.time_ns
            sums[1] += message.order_ref
            sums[2] += message.locate
        best = min(best, time.perf_counter() - began)
    return {"messages": messages, "seconds": best, "sums": sums}


def itchfeed_decode(path: str, rounds: int) -> dict[str, Any]:
    """`MessageParser().parse_file`, the same three fields."""
    from itch.parser import MessageParser

    best, sums, messages = float("inf"), [0, 0, 0], 0
    for _ in range(rounds):
        gc.collect()
        sums, messages = [0, 0, 0], 0
        began = time.perf_counter()
        with open(path, "rb") as file:
            for message in MessageParser().parse_file(file):
                messages += 1
                sums[0] += message.timestamp
                sums[1] += getattr(message, "order_reference_number", 0)
                sums[2] += message.stock_locate
        best = min(best, time.perf_counter() - began)
    return {"messages": messages, "seconds": best, "sums": sums}
