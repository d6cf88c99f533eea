"""A day's evidence: one zip file of plain text, a manifest over it, and a signature over the manifest.

    manifest.json                what is in it, SHA-256 of each file, the build, the heads of the chains
    manifest.sig  public_key.pem Ed25519 over the manifest's bytes
    layout.txt                   the shared structures of the build that recorded: its hash names the layout
    RUN/run.json                 configuration and day; names where secrets are, holds none
    RUN/limits.json              in force at the start, by instrument; each version that came into force after it
    RUN/kills.json               every change of the kill epoch, of being killed, of the trading mode
    RUN/rejects.jsonl            what risk and gateway refused, and why
    RUN/adjustments.jsonl        positions that people moved
    RUN/reconciliation.json      breaks with the venue as the engine keeps them; absent where nothing was compared
    RUN/orders.jsonl             intents, commands, frames, executions; each line has the hash of the one before
    RUN/journal.json             the journal's own chain of each ring: what its files hash to

The same journals give the same files; only the signature's day differs. Verify: hotpath/evidence/verify.py.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

import hotpath
from ffi import _native, lib
from ffi.dtypes import enum_names, layout_hash, layout_text
from hotpath import intents
from hotpath.errors import EvidenceError, IntentsError, JournalError
from hotpath.event_view import Seen, as_dictionary, type_words
from hotpath.evidence.keys import load_key, public_pem
from hotpath.evidence.verify import CHAIN_SEED, FORMAT, MANIFEST, PUBLIC_KEY, SIGNATURE, Verdict, verify_pack
from hotpath.explain.find import is_journal
from hotpath.explain.tell import reason_word
from hotpath.journal import Journal
from hotpath.limits.versions import LimitVersions, Wish, wishes_for
from hotpath.stages import intents_path

ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # one for all: a pack does not say when its files were touched
ORDER_RINGS = ("signal", "cmd", "reject", "exec")


def day_number(text: str) -> int:
    """yyyymmdd of a day as people write it. Raises EvidenceError."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise EvidenceError(f"{text}: is no day", next_step="write it as 2026-11-20 or 20261120") from None
    return day.year * 10000 + day.month * 100 + day.day


def journals_of(day: int, places: Iterable[Path]) -> list[Journal]:
    """The journals of a trading day in and below some folders, in the order in which their runs began."""
    found: dict[Path, Journal] = {}
    for place in places:
        for path in (place, *sorted(place.glob("*")), *sorted(place.glob("*/*"))):
            if is_journal(path) and path.resolve() not in found:
                journal = Journal(path)
                if journal.run.trading_day == day:
                    found[path.resolve()] = journal
    if not found:
        where = ", ".join(str(place) for place in places) or "no folder"
        raise EvidenceError(
            f"no journal of trading day {day} lies in {where}",
            next_step="name the folder of a run, or the one that holds them: --journal FOLDER",
        )
    return sorted(found.values(), key=lambda journal: journal.run.run_epoch)


def export_evidence(day: int, journals: list[Journal], *, key_path: Path, out: Path) -> Verdict:
    """Write the pack and verify it. Raises EvidenceError; a file that is there already is not overwritten."""
    key = load_key(key_path)
    if out.exists():
        raise EvidenceError(f"{out}: is there already", next_step="write elsewhere: --out FILE")
    files: dict[str, bytes] = {"layout.txt": layout_text().encode()}
    chains: dict[str, str] = {}
    for number, journal in enumerate(journals, start=1):
        for name, data in _run_files(journal).items():
            files[f"run{number}/{name}"] = data
        chains[f"run{number}/orders.jsonl"] = chain_head(files[f"run{number}/orders.jsonl"])
    manifest = {
        "format": FORMAT,
        "day": str(day),
        "engines": sorted({journal.run.config.engine.name for journal in journals}),
        "build": _build(),
        "chains": chains,
        "files": {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
            for name, data in sorted(files.items())
        },
    }
    manifest_bytes = _text(manifest)
    files[MANIFEST] = manifest_bytes
    files[SIGNATURE] = key.sign(manifest_bytes).hex().encode() + b"\n"
    files[PUBLIC_KEY] = public_pem(key)
    try:
        with zipfile.ZipFile(out, "x", zipfile.ZIP_DEFLATED) as pack:
            for name in (MANIFEST, SIGNATURE, PUBLIC_KEY, *sorted(set(files) - {MANIFEST, SIGNATURE, PUBLIC_KEY})):
                pack.writestr(zipfile.ZipInfo(name, ZIP_DATE), files[name], zipfile.ZIP_DEFLATED)
    except OSError as error:
        raise EvidenceError(f"{out}: cannot be written: {error.strerror}") from None
    return verify_pack(out, files[PUBLIC_KEY])


def _build() -> dict[str, str]:
    """What recorded and exported: version, layout, and the compiled code itself."""
    extension = Path(_native.__file__)
    return {
        "hotpath": hotpath.__version__,
        "layout_hash": f"{layout_hash():016x}",
        "extension_sha256": hashlib.sha256(extension.read_bytes()).hexdigest(),
    }


def _text(document: Any) -> bytes:
    """Canonical JSON: sorted, indented, one trailing newline."""
    return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _lines(documents: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(each, sort_keys=True, ensure_ascii=False).encode() + b"\n" for each in documents)


# ---- one run ------------------------------------------------------------------------------------------


def _run_files(journal: Journal) -> dict[str, bytes]:
    files = {
        "run.json": _text(msgspec.to_builtins(journal.run)),
        "limits.json": _text(_limits(journal)),
        "kills.json": _text(list(_kills(journal))),
        "rejects.jsonl": _lines(_rejects(journal)),
        "journal.json": _text(_journal(journal)),
        "orders.jsonl": chained(_order_events(journal)),
    }
    found = {
        "adjustments.jsonl": _lines(_adjustments(journal)),
        "reconciliation.json": _reconciliation(journal),
        "audit.jsonl": _kept_lines(journal, "audit"),
        "drills.jsonl": _kept_lines(journal, "drills"),
    }
    return files | {name: data for name, data in found.items() if data}


def _limits(journal: Journal) -> dict[str, Any]:
    """In force at the start, and each version that a turn of risk was made under."""
    risk = journal.run.config.risk
    symbols = [symbol.decode() for symbol in journal.instruments["symbol"].tolist()]
    changes = []
    version = 0
    versions, wishes = LimitVersions(journal), wishes_for(journal)
    for turns in journal.batches("risk.ctl"):
        for place in np.flatnonzero(np.diff(turns["limits_version"].astype(np.int64), prepend=version)).tolist():
            before, version = version, int(turns["limits_version"][place])
            told = {
                "version": version,
                "turn": int(turns["turn"][place]),
                "now_ns": int(turns["header"]["origin_time_ns"][place]),
            }
            changes.append(told | (_version(versions, before, version, wishes.get(version)) if before else {}))
        version = int(turns["limits_version"][-1])
    plain = msgspec.to_builtins(risk)
    plain.pop("instruments")
    return {
        "engine": plain,
        "instruments": {symbol: msgspec.to_builtins(risk.limits_of(symbol)) for symbol in symbols},
        "in_force": changes,
    }


def _version(versions: LimitVersions, before: int, version: int, wish: Wish | None) -> dict[str, Any]:
    """What a later version changed, and of whom it is known."""
    found: dict[str, Any] = {"who": wish.who, "why": wish.why} if wish is not None else {}
    try:
        changes = versions.changes(before, version).items()
    except JournalError as error:
        return found | {"unknown": str(error)}
    return found | {"changes": [{"name": name, "before": old, "after": new} for name, (old, new) in changes]}


def _kills(journal: Journal) -> Iterator[dict[str, Any]]:
    """Every turn of risk and gateway at which the kill epoch, being killed, or the mode was another one."""
    modes = enum_names("trading_mode")
    for stage in ("risk", "gateway"):
        before: tuple[int, int, int] | None = None
        for turns in journal.batches(f"{stage}.ctl"):
            state = np.stack([turns[name].astype(np.int64) for name in ("kill_epoch", "killed", "mode")], axis=1)
            moved = np.flatnonzero(np.any(np.diff(state, axis=0, prepend=state[:1]) != 0, axis=1)).tolist()
            for place in sorted({0, *moved}):
                now = (int(state[place][0]), int(state[place][1]), int(state[place][2]))
                if now == before:
                    continue
                before = now
                yield {
                    "stage": stage,
                    "turn": int(turns["turn"][place]),
                    "now_ns": int(turns["header"]["origin_time_ns"][place]),
                    "kill_epoch": now[0],
                    "killed": bool(now[1]),
                    "mode": modes[now[2]].removeprefix("MODE_").lower(),
                }


def _rejects(journal: Journal) -> Iterator[dict[str, Any]]:
    """What risk refused, then what the gateway did not send."""
    for ring in ("reject", "exec"):
        for events in journal.batches(ring):
            chosen = events if ring == "reject" else events[events["header"]["type"] == lib.EXEC_REFUSED]
            for event in chosen:
                yield {
                    "by": "risk" if ring == "reject" else "gateway",
                    "order_id": int(event["order_id"]),
                    "reason": reason_word(int(event["reason"])),
                    "time_ns": int(event["header"]["publish_time_ns"]),
                    "instrument": int(event["header"]["instrument"]),
                    "price_ticks": int(event["price_ticks"]),
                    "quantity_lots": int(event["quantity_lots"]),
                }


def _adjustments(journal: Journal) -> Iterator[dict[str, Any]]:
    for events in journal.batches("adjust"):
        for event in events:
            yield {
                "id": int(event["id"]),
                "type": type_words()[int(event["header"]["type"])],
                "instrument": int(event["header"]["instrument"]),
                "quantity_lots": int(event["quantity_lots"]),
                "cost_micros": int(event["cost_micros"]),
                "cash_micros": int(event["cash_micros"]),
                "part": int(event["part"]),
                "text": bytes(event["text"][: int(event["length"])]).decode("utf-8", "replace"),
                "time_ns": int(event["header"]["origin_time_ns"]),
            }


def _kept_lines(journal: Journal, what: str) -> bytes:
    """Whole lines that were kept beside the engine: what people did to it and were refused, whose own chain
    `hotctl audit verify` checks; the drills, with what they measured and whether they were passed."""
    engine = journal.run.config.engine
    try:
        data = (Path(engine.state_dir) / f"{engine.name}.{what}.jsonl").read_bytes()
    except OSError:  # nobody held it, or the pack is made on another machine
        return b""
    return data[: data.rfind(b"\n") + 1]


def _reconciliation(journal: Journal) -> bytes:
    """The engine's own record of what it compared with the venue, as it stands."""
    config = journal.run.config.engine
    name = f"{config.name}.reconcile.json"
    for path in (journal.folder / name, Path(config.state_dir) / name):
        if path.exists():
            return path.read_bytes()
    return b""


def _journal(journal: Journal) -> dict[str, Any]:
    """The journal's own chain: whoever has the journal can see that it is this one."""
    rings = {}
    for ring in sorted(journal.rings):
        blocks = journal.blocks(ring)
        last = blocks[-1] if len(blocks) else None
        rings[ring] = {
            "events": journal.count(ring),
            "lost": journal.lost(ring),
            "blocks": len(blocks),
            "chain": bytes(last["chain_hash"]).hex() if last is not None else "",
        }
    return {"folder": journal.folder.name, "ended": journal.ended, "rings": rings}


# ---- orders as a chain ----------------------------------------------------------------------------------


def _order_events(journal: Journal) -> Iterator[dict[str, Any]]:
    """Intent, decision, frame and answers, in the order in which they were published."""
    symbols = [symbol.decode() for symbol in journal.instruments["symbol"].tolist()]
    ticks = [int(value) for value in journal.instruments["tick_value_micros"]]
    found: list[tuple[int, int, int, dict[str, Any]]] = []
    for place, ring in enumerate(ORDER_RINGS):
        sequences = journal.sequences(ring)
        for row, event in enumerate(journal.events(ring)):
            instrument = int(event["header"]["instrument"])
            known = instrument < len(symbols)
            symbol, tick = (symbols[instrument], ticks[instrument]) if known else ("", 0)
            document = as_dictionary(Seen(ring, symbol, tick, event))
            document["sequence"] = int(sequences[row])  # the stamp is the journal's own
            found.append((int(event["header"]["publish_time_ns"]), place, row, document))
    found += [(time_ns, len(ORDER_RINGS), row, frame) for row, (time_ns, frame) in enumerate(_frames(journal))]
    for _, _, _, document in sorted(found, key=lambda each: each[:3]):
        yield document


def _frames(journal: Journal) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every frame of this run's orders, as it was stored before it was sent."""
    kept = journal.folder / "intents"
    try:
        with intents.read_intents(kept if kept.exists() else intents_path(journal.run.config)) as file:
            records, frames = np.array(file.records()), file.frames()
    except IntentsError:
        return
    for record, frame in zip(records, frames, strict=True):
        if int(record["order_id"]) <= journal.run.order_id_base:
            continue
        yield (
            int(record["sent_time_ns"]) or int(record["time_ns"]),
            {
                "ring": "wire",
                "order_id": int(record["order_id"]),
                "user_ref": int(record["user_ref"]),
                "digest": f"{int(record['digest']):016x}",
                "frame": frame.hex(),
                "stored_time_ns": int(record["time_ns"]),
                "sent_time_ns": int(record["sent_time_ns"]),
            },
        )


def chained(documents: Iterable[dict[str, Any]]) -> bytes:
    """One line each, which names the SHA-256 of the line before."""
    previous, lines = CHAIN_SEED, []
    for document in documents:
        line = json.dumps({**document, "previous": previous}, sort_keys=True, ensure_ascii=False, default=str).encode()
        previous = hashlib.sha256(line).hexdigest()
        lines.append(line + b"\n")
    return b"".join(lines)


def chain_head(data: bytes) -> str:
    """SHA-256 of the last line; of none, what the first would name."""
    lines = data.splitlines()
    return hashlib.sha256(lines[-1]).hexdigest() if lines else CHAIN_SEED
