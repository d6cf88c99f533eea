"""One copy of all limits in memory, read and written by dotted names; sealed before it is put in force.

limits_header | instrument_limits, one a symbol | scope_limits, one for each venue, account, strategy with its own
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from ffi import ffi, lib
from hotpath.errors import LimitsError
from hotpath.limits.catalogue import SCOPES, Limit, Value, limits_of

KINDS = {"venue": lib.SCOPE_VENUE, "account": lib.SCOPE_ACCOUNT, "strategy": lib.SCOPE_STRATEGY}
ANY = {"any_account": "account", "any_strategy": "strategy"}
LOOK = "hotctl limits describe lists every limit and its scopes"


@dataclass(frozen=True, slots=True)
class Temporary:
    """A limit that reverts by itself: to `before`, at `expires_time_ns` of the engine's clock."""

    name: str
    value: Value
    before: Value
    expires_time_ns: int
    who: str


@dataclass(frozen=True, slots=True)
class Token:
    """Leave for one order to breach limits that give `reasons`, once. None: any of them; bounds are the token's own."""

    reasons: tuple[str, ...]
    who: str
    expires_time_ns: int
    quantity_lots_max: int
    order_value_micros_max: int
    instrument: str | None = None
    account: int | None = None
    strategy: int | None = None
    side: int | None = None
    id: int = 0


def _zero(pointer: Any) -> None:
    size = ffi.sizeof(pointer[0])
    ffi.memmove(pointer, bytes(size), size)


class LimitsCopy:
    """A copy of the limits in memory of its own. `symbols` are the instruments in reference-data order."""

    def __init__(self, symbols: Sequence[str], memory: bytes | bytearray | None = None) -> None:
        self.symbols = list(symbols)
        self._index = {symbol: index for index, symbol in enumerate(self.symbols)}
        size = int(lib.limits_bytes(len(self.symbols), lib.SCOPES_MAX))
        self.memory = bytearray(size)
        self.header = ffi.cast("limits_header *", ffi.from_buffer(self.memory))
        if memory is None:
            lib.limits_clear(self.header, len(self.symbols), 0)
        else:
            if len(memory) > size:
                raise LimitsError(f"a copy of {len(memory)} bytes is none of {len(self.symbols)} instruments")
            self.memory[: len(memory)] = memory
        self._base = ffi.cast("char *", self.header)
        self._instruments = ffi.cast("instrument_limits *", self.header + 1)

    def clone(self) -> Self:
        """Another copy, the same in content."""
        return type(self)(self.symbols, bytes(self.memory[: self.size]))

    @property
    def version(self) -> int:
        """Rising by one with each change."""
        return int(self.header.version)

    @property
    def size(self) -> int:
        """Bytes of it."""
        return int(self.header.bytes)

    @property
    def data(self) -> bytes:
        """Its bytes: what the journal keeps."""
        return bytes(self.memory[: self.size])

    @property
    def checksum(self) -> int:
        """Of the bytes, as it was sealed."""
        return int(self.header.checksum)

    def __contains__(self, symbol: str) -> bool:
        """True for an instrument that it has limits of."""
        return symbol in self._index

    def seal(self) -> None:
        """Derive and checksum: after the last change."""
        lib.limits_seal(self.header)

    @property
    def is_whole(self) -> bool:
        """True when it is what its writer sealed."""
        return bool(lib.limits_whole(self.header, len(self.memory)))

    # ---- scopes ----

    def _scopes(self) -> Any:
        return lib.limits_scopes(self.header)

    def scopes(self) -> list[str]:
        """Every scope that has limits here, instruments last: firm, any_account, ..., strategy.2, instrument.GOOG."""
        names = {kind: name for name, kind in KINDS.items()}
        own = [self._scopes()[place] for place in range(self.header.scope_count)]
        found = [f"{names[int(each.kind)]}.{each.id}" for each in own]
        return ["firm", *ANY, *sorted(found), *(f"instrument.{symbol}" for symbol in self.symbols)]

    def _entry(self, kind: str, number: int, *, make: bool) -> Any:
        """``scope_limits *`` of a venue, account or strategy; of `any_` where it has none and none is to be made."""
        scopes = self._scopes()
        for place in range(self.header.scope_count):
            if int(scopes[place].kind) == KINDS[kind] and int(scopes[place].id) == number:
                return ffi.addressof(scopes, place)
        default = {"account": "any_account", "strategy": "any_strategy"}.get(kind)
        if not make:
            return ffi.addressof(self.header, default) if default else ffi.NULL
        place = int(self.header.scope_count)
        if place >= lib.SCOPES_MAX:
            raise LimitsError(
                f"{lib.SCOPES_MAX} scopes have limits of their own already: none is left for {kind}.{number}"
            )
        self._name_place(kind, number, place + 1)
        self.header.scope_count = place + 1
        self.header.bytes += ffi.sizeof("scope_limits")
        entry = ffi.addressof(scopes, place)
        if default:
            entry[0] = getattr(self.header, default)
        else:
            self._clear(entry)
        entry.kind, entry.id = KINDS[kind], number
        entry.switches = 0 if not default else entry.switches
        return entry

    def _clear(self, entry: Any) -> None:
        """All off, as a fresh copy has it."""
        fresh = ffi.new("limits_header *")
        lib.limits_clear(fresh, 0, 0)
        entry[0] = fresh.any_strategy

    def _name_place(self, kind: str, number: int, place: int) -> None:
        header = self.header
        if kind == "venue":
            if number:
                raise LimitsError(f"there is no venue {number}: an engine has one, numbered 0")
            header.venue_place = place
        elif kind == "strategy":
            if not 0 <= number < lib.STRATEGY_PLACES:
                raise LimitsError(f"strategy {number}: strategies are numbered from 0 to {lib.STRATEGY_PLACES - 1}")
            header.strategy_place[number] = place
        else:
            if not 0 <= number < 1 << 16:
                raise LimitsError(f"account {number}: accounts are numbered from 0 to 65535")
            for step in range(lib.ACCOUNT_PLACES):
                home = (number + step) % lib.ACCOUNT_PLACES
                if not header.account_place[home]:
                    header.account_place[home] = place
                    return
            raise LimitsError(f"{lib.ACCOUNT_PLACES} accounts have limits of their own already")

    def _find(self, name: str, *, make: bool) -> tuple[Limit, int]:
        """The limit of a dotted name, and where its field stands in the copy; -1 when there is no such entry."""
        scope, _, limit_name = name.rpartition(".")
        kind, _, key = scope.partition(".")
        kind = ANY.get(kind, kind)
        limits = limits_of(kind) if kind in SCOPES else {}
        if limit_name not in limits:
            near = difflib.get_close_matches(limit_name, limits, n=1)
            hint = f" (did you mean {scope}.{near[0]}?)" if near else ""
            raise LimitsError(f"there is no limit {name}{hint}", next_step=LOOK)
        limit = limits[limit_name]
        pointer = self._pointer(scope, kind, key, limit, name, make=make)
        if pointer == ffi.NULL:
            return limit, -1
        return limit, int(ffi.cast("char *", pointer) - self._base) + limit.offset

    def _pointer(self, scope: str, kind: str, key: str, limit: Limit, name: str, *, make: bool) -> Any:
        header = self.header
        if kind == "instrument":
            if key not in self._index:
                raise LimitsError(f"{name}: there is no instrument {key}")
            entry = self._instruments + self._index[key]
            return ffi.addressof(entry, "scope") if limit.struct == "scope_limits" else entry
        if scope == "firm":
            return header if limit.struct == "limits_header" else ffi.addressof(header, "firm")
        if scope in ANY:
            return ffi.addressof(header, scope)
        if not key.isdecimal():
            raise LimitsError(f"{name}: which {kind}? It is named by its number, as {kind}.1.{limit.name}")
        return self._entry(kind, int(key), make=make)

    # ---- values ----

    def _load(self, offset: int) -> int:
        return int(ffi.cast("int64_t *", self._base + offset)[0])

    def _store(self, offset: int, raw: int) -> None:
        ffi.cast("int64_t *", self._base + offset)[0] = raw

    def get(self, name: str) -> Value:
        """The value in force. Raises LimitsError for a name that is none."""
        limit, offset = self._find(name, make=False)
        return limit.to_value(self._load(offset)) if offset >= 0 else (False if limit.bit else limit.default)

    def set(self, name: str, value: Value, *, envelope: bool = False) -> None:
        """Give a limit another value from now on. `envelope`: the signed one says so. Raises LimitsError."""
        limit, offset, raw = self._settable(name, value, envelope=envelope)
        if limit.bit:
            raw = self._load(offset) & ~limit.bit | raw
        self._store(offset, raw)
        for place in self._temporary_at(offset):
            _zero(ffi.addressof(self.header.temporary, place))

    def _settable(self, name: str, value: Value, *, envelope: bool) -> tuple[Limit, int, int]:
        limit, offset = self._find(name, make=True)
        if limit.protected and not envelope:
            raise LimitsError(
                f"{name} stands in the deployment envelope, which is signed: nobody changes it at the desk"
            )
        try:
            return limit, offset, limit.to_raw(value)
        except ValueError as error:
            raise LimitsError(f"{name}: {error}", next_step=LOOK) from None

    def names(self, scopes: Sequence[str] | None = None) -> Iterator[str]:
        """Every dotted name of these scopes, of all when none are given."""
        for scope in self.scopes() if scopes is None else scopes:
            kind = scope.partition(".")[0]
            for limit in limits_of(ANY.get(kind, kind)):
                yield f"{scope}.{limit}"

    def values(self, scopes: Sequence[str] | None = None) -> dict[str, Value]:
        """Every limit of these scopes and its value."""
        return {name: self.get(name) for name in self.names(scopes)}

    # ---- for a time ----

    def _temporary_at(self, offset: int) -> list[int]:
        held = self.header.temporary
        return [i for i in range(lib.TEMPORARY_LIMITS_MAX) if held[i].expires_time_ns and int(held[i].offset) == offset]

    def set_for_a_time(self, name: str, value: Value, *, expires_time_ns: int, who: str) -> None:
        """Give a limit another value until `expires_time_ns`; then the gate itself goes back to what stood before."""
        limit, offset, raw = self._settable(name, value, envelope=False)
        if limit.bit:
            raise LimitsError(f"{name} is no number: switch it, and switch it back")
        held = self.header.temporary
        standing = self._temporary_at(offset)
        free = [i for i in range(lib.TEMPORARY_LIMITS_MAX) if not held[i].expires_time_ns]
        if not standing and not free:
            raise LimitsError(
                f"{lib.TEMPORARY_LIMITS_MAX} limits are changed for a time already: wait until one reverts"
            )
        entry = held[(standing or free)[0]]
        if not standing:
            entry.value_before = self._load(offset)
        entry.expires_time_ns, entry.offset, entry.who = expires_time_ns, offset, who.encode()[:31]
        self._store(offset, raw)

    def temporaries(self) -> list[Temporary]:
        """What reverts by itself, as far as it is not yet expired."""
        found = []
        by_offset = None
        for entry in self.header.temporary:
            if not entry.expires_time_ns:
                continue
            by_offset = by_offset or {self._find(name, make=False)[1]: name for name in self._number_names()}
            name = by_offset[int(entry.offset)]
            limit = self._find(name, make=False)[0]
            who = ffi.string(entry.who).decode(errors="replace")
            before = limit.to_value(int(entry.value_before))
            found.append(Temporary(name, self.get(name), before, int(entry.expires_time_ns), who))
        return found

    def _number_names(self) -> Iterator[str]:
        for name in self.names():
            if not self._find(name, make=False)[0].bit:
                yield name

    def expire(self, now_ns: int) -> None:
        """Let what is over by `now_ns` revert, as the gate does by itself."""
        lib.limits_expire(self.header, now_ns)
        for entry in self.header.override:
            if entry.id and int(entry.expires_time_ns) <= now_ns:
                entry.id = 0

    # ---- trading hours ----

    def set_hours(self, hours: Sequence[tuple[int, int]]) -> None:
        """Opening and closing instants between which orders may be sent; none: at any time. Raises LimitsError."""
        if len(hours) > lib.TRADING_HOURS_MAX:
            raise LimitsError(f"trading hours: {len(hours)} spans, a copy holds {lib.TRADING_HOURS_MAX}")
        self.header.hours_count = len(hours)
        for place in range(lib.TRADING_HOURS_MAX):
            entry = self.header.hours[place]
            entry.open_time_ns, entry.close_time_ns = hours[place] if place < len(hours) else (0, 0)

    def hours(self) -> list[tuple[int, int]]:
        """The same."""
        held = (self.header.hours[place] for place in range(int(self.header.hours_count)))
        return [(int(entry.open_time_ns), int(entry.close_time_ns)) for entry in held]

    # ---- one-off overrides ----

    def grant(self, token: Token) -> int:
        """Let one order through; its token's id. Raises LimitsError."""
        from ffi.dtypes import enum_names

        codes = {name.removeprefix("REJECT_").lower(): code for code, name in enum_names("reject_reason").items()}
        held = self.header.override
        free = [i for i in range(lib.OVERRIDES_MAX) if not held[i].id]
        if not free:
            raise LimitsError(f"{lib.OVERRIDES_MAX} overrides are out already: wait until one is used or expires")
        entry = held[free[0]]
        _zero(ffi.addressof(held, free[0]))
        for reason in token.reasons:
            if reason not in codes:
                raise LimitsError(f"an override of {reason}: no limit gives that reason", next_step=LOOK)
            entry.reasons[codes[reason] // 64] |= 1 << codes[reason] % 64
        if token.instrument is not None and token.instrument not in self._index:
            raise LimitsError(f"an override for {token.instrument}: there is no such instrument")
        entry.instrument = lib.NO_INSTRUMENT if token.instrument is None else self._index[token.instrument]
        entry.expires_time_ns = token.expires_time_ns
        entry.quantity_lots_max, entry.order_value_micros_max = token.quantity_lots_max, token.order_value_micros_max
        entry.account, entry.any_account = token.account or 0, token.account is None
        entry.strategy, entry.any_strategy = token.strategy or 0, token.strategy is None
        entry.side = lib.SIDE_ANY if token.side is None else token.side
        entry.who = token.who.encode()[:31]
        entry.id = token.id or self.version + 1
        return int(entry.id)

    def tokens(self) -> list[Token]:
        """The overrides that are out. Whether one was used is the gate's to know."""
        from ffi.dtypes import enum_names

        names = enum_names("reject_reason")
        found = []
        for entry in self.header.override:
            if not entry.id:
                continue
            reasons = [c for c in range(lib.REJECT_REASONS_MAX) if entry.reasons[c // 64] >> c % 64 & 1]
            found.append(
                Token(
                    reasons=tuple(names[code].removeprefix("REJECT_").lower() for code in reasons),
                    who=ffi.string(entry.who).decode(errors="replace"),
                    expires_time_ns=int(entry.expires_time_ns),
                    quantity_lots_max=int(entry.quantity_lots_max),
                    order_value_micros_max=int(entry.order_value_micros_max),
                    instrument=None if entry.instrument == lib.NO_INSTRUMENT else self.symbols[entry.instrument],
                    account=None if entry.any_account else int(entry.account),
                    strategy=None if entry.any_strategy else int(entry.strategy),
                    side=None if entry.side == lib.SIDE_ANY else int(entry.side),
                    id=int(entry.id),
                )
            )
        return found

    def withdraw(self, token_id: int) -> None:
        """Take an override back. Raises LimitsError when there is none of this id."""
        for entry in self.header.override:
            if int(entry.id) == token_id:
                entry.id = 0
                return
        raise LimitsError(f"there is no override {token_id}")

    # ---- what differs ----

    def changed_scopes(self, other: LimitsCopy) -> list[str]:
        """Scopes of either copy whose bytes differ, so that names are compared only there."""
        size = ffi.sizeof("instrument_limits")
        first = ffi.sizeof("limits_header")
        mine, theirs = memoryview(self.memory), memoryview(other.memory)
        places = (slice(first + i * size, first + (i + 1) * size) for i in range(len(self.symbols)))
        instruments = [
            f"instrument.{symbol}"
            for symbol, place in zip(self.symbols, places, strict=True)
            if mine[place] != theirs[place]
        ]
        own = {scope for copy in (self, other) for scope in copy.scopes() if not scope.startswith("instrument.")}
        return [*sorted(own), *instruments]

    def differences(self, after: LimitsCopy) -> dict[str, tuple[Value, Value]]:
        """Each name whose value differs: (here, in `after`)."""
        found = {}
        for name in self.names(self.changed_scopes(after)):
            before, now = self.get(name), after.get(name)
            if before != now:
                found[name] = (before, now)
        return found
