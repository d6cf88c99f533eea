"""From the manifest's made features to the program of ``ffi/src/compose.c``, and the hash of what the kernels do."""

from __future__ import annotations

import difflib
import hashlib
import math
from collections.abc import Sequence
from functools import cache
from typing import Any, cast, get_args

import numpy as np

from ffi import ffi, lib
from ffi.dtypes import dtype_of, enum_names
from hotpath.registry.errors import ManifestError
from hotpath.registry.manifest import Features, MadeFeature, Ops

FEATURE_NAMES: tuple[str, ...] = tuple(
    name.removeprefix("FEATURE_").lower()
    for value, name in enum_names("feature_id").items()
    if value < lib.FEATURES_MAX
)
OPS: tuple[str, ...] = get_args(Ops)
PAIRS = ("sum", "difference", "product", "ratio", "least", "most")  # those of two operands
PROBE_EVENTS = 4096
PROBE_CONFIG = {
    "bar_ns": 50_000_000, "bar_trades": 0, "sample_every": 2, "ema_fast": 4, "ema_slow": 16, "zscore_window": 16,
    "flow_window": 8, "sma_fast": 3, "sma_slow": 7, "rsi_period": 5, "macd_fast": 4, "macd_slow": 9, "macd_signal": 3,
    "atr_period": 5, "volatility_bars": 8,
}  # fmt: skip


def program_of(made: Sequence[MadeFeature], known: Sequence[str] = FEATURE_NAMES) -> Any:
    """compose_program, checked by the kernel. Raises ManifestError that names the feature and the nearest names."""
    if len(made) > lib.COMPOSE_STEPS_MAX:
        raise ManifestError(f"features.made: {len(made)}; at most {lib.COMPOSE_STEPS_MAX}")
    program = ffi.new("compose_program *", {"count": len(made)})
    places = {name: index for index, name in enumerate(known)}
    for index, each in enumerate(made):
        if each.name in places:
            raise ManifestError(f"features.made: {each.name}: there is a feature of that name already")
        wanted = 2 if each.op in PAIRS else 1
        if len(each.of) != wanted:
            raise ManifestError(f"features.made: {each.name}: {each.op} is of {wanted}, not of {len(each.of)}")
        for operand in each.of:
            if operand not in places:
                raise ManifestError(f"features.made: {each.name}: {unknown_name(operand, places)}")
        step = program.step[index]
        step.op, step.a, step.b = OPS.index(each.op), places[each.of[0]], places[each.of[-1]]
        step.p, step.q = each.p, each.q
        places[each.name] = len(known) + index
    at = ffi.new("uint32_t *")
    status = lib.compose_check(program, at)
    if status:
        wrong = made[at[0]]
        text = ffi.typeof("enum compose_status").elements[status].removeprefix("COMPOSE_").lower().replace("_", " ")
        raise ManifestError(f"features.made: {wrong.name}: {wrong.op} with p = {wrong.p:g}, q = {wrong.q:g}: {text}")
    return program


def unknown_name(name: str, known: Sequence[str] | dict[str, int]) -> str:
    """That there is no such feature, with the nearest ones."""
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.4)
    return f"no feature is called {name}; near it: {', '.join(near) or ', '.join(list(known)[:6])}"


def check_features(features: Features) -> None:
    """That this build can compute them, to the bit. Raises ManifestError."""
    program_of(features.made)
    known = [*FEATURE_NAMES, *(each.name for each in features.made), *(each.name for each in features.native)]
    for name in features.columns:
        if name not in known:
            raise ManifestError(f"features.columns: {unknown_name(name, known)}")
    fields = set(dtype_of("feature_config").names or ())
    if set(features.config) != fields:
        odd = sorted(set(features.config) ^ fields)
        raise ManifestError(f"features.config: {', '.join(odd)}: missing, or no such window")
    try:
        native = ffi.new("feature_config *", features.config)
    except OverflowError as error:
        raise ManifestError(f"features.config: {error}") from None
    field = ffi.new("const char **")
    status = lib.feature_config_check(native, field)
    if status:
        reason = ffi.typeof("enum feature_status").elements[status].removeprefix("FEATURE_").lower().replace("_", " ")
        raise ManifestError(f"features.config.{ffi.string(field[0]).decode()}: {reason}")


@cache
def kernel_hash() -> str:
    """SHA-256 of what the feature kernels do: the names, and every bit that they give on a fixed made-up market.

    Two builds of one hash compute the same columns; another meaning, window or rounding is another hash.
    """
    digest = hashlib.sha256()
    digest.update(" ".join([*FEATURE_NAMES, *(dtype_of("feature_config").names or ()), *OPS]).encode())
    events = _probe_events()
    config = ffi.new("feature_config *", PROBE_CONFIG)
    states = ffi.new("feature_state[1]")
    lib.feature_init(states)
    values = np.empty((len(events), lib.FEATURES_MAX))
    ready = np.empty(len(events), np.uint32)
    at = ffi.from_buffer("double[]", values, require_writable=True)
    lib.feature_batch(
        config,
        states,
        1,
        ffi.from_buffer("norm_event[]", events),
        len(events),
        at,
        ffi.from_buffer("uint32_t[]", ready),
    )
    digest.update(np.where(np.isnan(values), 0.0, values).tobytes() + ready.tobytes())
    digest.update(_probe_made(values))
    return digest.hexdigest()


def _probe_events() -> Any:
    """A walk of quotes and trades, from a generator of whole numbers alone."""
    events = np.zeros(PROBE_EVENTS, dtype_of("norm_event"))
    seed = 1
    bid, now = 1_000_000, 1_000_000_000
    for event in events:
        seed = seed * 6364136223846793005 + 1442695040888963407 & 2**64 - 1
        draw = seed >> 33
        bid += (draw % 5 - 2) * 100
        now += draw % 3_000_000
        trade = draw % 7 == 0
        header = event["header"]
        header["type"] = lib.NORM_EXECUTE if trade else lib.NORM_ADD
        header["flags"] = lib.FLAG_PRINTABLE | (lib.FLAG_SELL if draw % 2 else 0)
        header["origin_time_ns"] = now
        event["price_ticks"], event["quantity_lots"] = bid, 1 + draw % 300
        event["bid_price_ticks"], event["ask_price_ticks"] = bid, bid + 100 * (1 + draw % 3)
        event["bid_quantity_lots"], event["ask_quantity_lots"] = 1 + draw % 900, 1 + draw % 700
        event["bid_depth_lots"], event["ask_depth_lots"] = 1000 + draw % 900, 1000 + draw % 700
    return events


def _probe_made(values: Any) -> bytes:
    operands = ["imbalance_top", "spread"]
    ops = cast("tuple[Ops, ...]", OPS)
    made = [
        MadeFeature(name=f"m{index}", op=op, of=operands[: 2 if op in PAIRS else 1], p=3.0, q=5.0)
        for index, op in enumerate(ops)
    ]
    program, state = program_of(made), ffi.new("compose_state *")
    lib.compose_init(state)
    found = bytearray()
    row = ffi.new("double[]", lib.FEATURES_MAX + len(made))
    for value in values[:256]:
        row[0 : lib.FEATURES_MAX] = value.tolist()
        lib.compose_run(program, state, row)
        made_values = [row[lib.FEATURES_MAX + i] for i in range(len(made))]
        found += np.array([0.0 if math.isnan(v) else v for v in made_values]).tobytes()
    return bytes(found)
