"""The rows of the table, all of them, fixed before any is run: to drop a lost one is to change this file in public."""

from __future__ import annotations

from functools import partial

from bench.peers import books, engines, indicators, messaging
from bench.peers.messaging import PARK, SPIN
from bench.peers.rows import Row

MESSAGES, ENGINES, BOOKS, INDICATORS = "messages", "engines", "books", "indicators"
ON_TWO = "two Python processes, one on each processor, 64 bytes"
ON_ONE = "one process on one processor"

# channel, its name, package, how it waits
BLOCKING = (
    ("zmq_ipc", "pyzmq PAIR over ipc", "pyzmq"),
    ("zmq_inproc", "pyzmq PAIR over inproc, two threads", "pyzmq"),
    ("pipe", "multiprocessing.Pipe", "Python"),
    ("queue", "multiprocessing.Queue", "Python"),
    ("posix_queue", "POSIX message queue", "posix-ipc"),
)
SPINNING = (
    ("shared_memory", "multiprocessing.shared_memory, ring by hand", "Python"),
    ("iceoryx2", "iceoryx2", "iceoryx2"),
    ("kickmsg", "kickmsg", "kickmsg"),
    ("cloudtoid", "cloudtoid-interprocess", "cloudtoid-interprocess"),
    ("slick_queue", "slick-queue-py", "slick-queue-py"),
    ("subetha", "subetha-ipc SpscRing", "subetha-ipc"),
)
BATCHES = (
    ("cloudtoid", "cloudtoid-interprocess", "cloudtoid-interprocess"),
    ("subetha", "subetha-ipc SpscRing", "subetha-ipc"),
)

ASLEEP = (
    "Both sleep in the kernel, and the kernel's wake-up is most of it. hotpath arms, looks again and parks through "
    "four calls from Python; a POSIX queue makes one system call in C, a pipe two. zmq over inproc stays in a process."
)
SPUN = (
    "hotpath's stages call the ring from C and pay 4 ns; a Python program reaches it through cffi, whose calls cost "
    "more than those of a hand-written extension module, and copies the message twice on each "
    "side to hand over `bytes`."
)
BATCHED = (
    "hotpath has no call that publishes many messages from Python: it loops over single ones, and takes them out in "
    "one. Packages that push a list in one call go into their extension once."
)
FLOOR = (
    "Nothing that carries a message can be quicker than one cache line going to and fro; the ring's slot is stamped "
    "and its reader has a cursor. The aim is 1.35 times the floor."
)


def message_rows() -> tuple[Row, ...]:
    """Round trips, one way, and 64 a call."""
    rows = [
        Row(
            MESSAGES, "round trip from C: the ring beside one cache line", (), "ns",
            "two C processes, one on each processor", FLOOR, messaging.c_round_trip, two_cores=True,
        )
    ]  # fmt: skip
    kinds = [(each, PARK, "both asleep", ASLEEP) for each in BLOCKING]
    kinds += [(each, SPIN, "both spinning", SPUN) for each in SPINNING]
    kinds += [(each, SPIN, "hotpath spinning, the other asleep", SPUN) for each in BLOCKING]
    for (channel, name, package), beside, waiting, why in kinds:
        layout = f"{ON_TWO}; {waiting}"
        trip = partial(messaging.round_trip, channel=channel, beside=beside)
        way = partial(messaging.one_way, channel=channel, beside=beside)
        rows.append(Row(MESSAGES, f"round trip: {name} ({waiting})", (package,), "ns", layout, why, trip, True))
        rows.append(Row(MESSAGES, f"one way: {name} ({waiting})", (package,), "per second", layout, why, way, True))
    for channel, name, package in BATCHES:
        many = partial(messaging.one_way, channel=channel, beside=SPIN, batched=True)
        what = f"one way, 64 a call: {name}"
        rows.append(Row(MESSAGES, what, (package,), "per second", f"{ON_TWO}; both spinning", BATCHED, many, True))
    return tuple(rows)


SAME_DAY = "one instrument's day, one rule, orders of one share, immediate or cancel"
BACKTESTER = (
    "A backtester needs less: level changes made beforehand, an array of them, and one loop. hotpath replays the "
    "engine that trades: it decodes ITCH, keeps the book order by order, computes eighteen features, passes every "
    "limit, frames each order, and records every turn of every stage so that it can be replayed."
)
ENGINE_ROWS = (
    Row(
        ENGINES, "replay of a day with a strategy: hftbacktest", ("hftbacktest", "numba"), "per second",
        f"{ON_ONE}; {SAME_DAY}, compiled by numba in both; messages of the day a second. hotpath's paper venue uses "
        "displayed liquidity once, hftbacktest's again and again: so fills differ a little, and orders do not",
        BACKTESTER, partial(engines.replay, rival="hftbacktest"),
    ),
    Row(
        ENGINES, "replay of a day with a strategy: NautilusTrader", ("nautilus-trader", "numba"), "per second",
        f"{ON_ONE}; {SAME_DAY}; NautilusTrader gets only the quotes, as its own objects, and runs the rule in Python; "
        "messages of the day a second",
        BACKTESTER, partial(engines.replay, rival="nautilus"),
    ),
    Row(
        ENGINES, "tick to order, live engine: NautilusTrader", ("nautilus-trader", "numba"), "ns",
        f"{ON_ONE}; {SAME_DAY}, {engines.TICK_RATE:,} messages a second. hotpath from the instant at which the bytes "
        "were due, decoding and book included, to the order's frame stored; NautilusTrader from the quote's hand-over "
        "to the execution client's receipt, its event loop asleep between quotes as it is on a socket",
        "hotpath counts from the instant at which a message was due, and so counts what the machine took from it; the "
        "other counts only from when it was handed the quote.",
        engines.tick_to_order,
    ),
)  # fmt: skip

BOOK_ROWS = (
    Row(
        BOOKS, "ITCH file to a table of best bids and offers", ("itch-book",), "per second",
        f"{ON_ONE}; itch-book also reads the file in a thread",
        "hotpath's book keeps what an engine needs and a table does not: each order's place in its queue, and depth "
        "sums after every message.",
        books.table,
    ),
    Row(
        BOOKS, "ITCH messages to fields in Python, one at a time", ("itchfeed", "itchcpp"), "per second",
        f"{ON_ONE}; itchfeed with its C++ backend",
        "hotpath decodes every field into a C struct and Python reads them through cffi, one attribute at a time; "
        "itchfeed's backend makes Python objects in C++. hotpath's own path never does this.",
        books.decode,
    ),
)  # fmt: skip

KERNEL = (
    "The kernel is called once a market event, keeps eighteen features and their state of 4 kB, and guards every "
    "value against bad ones; over an array the other computes six indicators, and nothing else, in straight loops."
)
EACH_BAR = "Six values are read through cffi, one at a time; and the kernel computes twelve more."
INDICATOR_ROWS = tuple(
    Row(INDICATORS, what, (package,), "ns", ON_ONE, why, partial(measure, rival=rival))
    for what, package, rival, measure, why in (
        ("SMA, RSI, MACD, ATR over an array, a bar: TA-Lib", "TA-Lib", "talib", indicators.whole, KERNEL),
        ("SMA, RSI, MACD, ATR over an array, a bar: numba", "numba", "numba", indicators.whole, KERNEL),
        ("the same bar by bar from Python: TA-Lib, streaming", "TA-Lib", "talib", indicators.each, EACH_BAR),
        ("the same bar by bar from Python: talipp", "talipp", "talipp", indicators.each, EACH_BAR),
    )
)

ROWS: tuple[Row, ...] = (*message_rows(), *ENGINE_ROWS, *BOOK_ROWS, *INDICATOR_ROWS)
SECTIONS = tuple(dict.fromkeys(row.section for row in ROWS))
