"""audit list, verify, export: who did what."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from hotctl.commands.options import as_dict, client, say, show, show_one
from hotctl.errors import AuditError

app = typer.Typer(help="The audit log: who asked for what, and what became of it.", no_args_is_help=True)
LogFile = Annotated[
    Path | None, typer.Argument(metavar="[FILE]", help="A log or an export; default: the engine's own.")
]
COLUMNS = ("sequence", "time", "kind", "identity", "method", "reason", "detail")


@app.command("list")
def list_records(
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=1000, help="At most so many, the last ones.")] = 20,
    since: Annotated[int, typer.Option("--from", min=0, help="From this number on, instead.")] = 0,
) -> None:
    """List the last lines."""
    import msgspec

    from hotctl.v1 import audit_pb2

    with client() as call:
        wanted = audit_pb2.ListAuditRecordsRequest(from_sequence=since, count_max=count)
        found = as_dict(call.call("AuditService/ListAuditRecords", wanted))["records"]
    rows = []
    for each in found:
        detail = msgspec.json.decode(each.pop("detail_json"))
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each["time_ns"] // 10**9))
        rows.append({**each, "time": when, "detail": detail})
    show([{**row, "detail": _short(row["detail"])} if _for_people() else row for row in rows], columns=COLUMNS)


def _for_people() -> bool:
    from hotctl.commands.options import OPTIONS

    return OPTIONS.output == "table"


def _short(detail: dict[str, Any]) -> str:
    words = [str(detail[key]) for key in ("outcome", "detail", "refusal") if detail.get(key)]
    changes = [f"{each['name']}: {each['before']} -> {each['after']}" for each in detail.get("changes", [])]
    return "; ".join([*words, *changes])


@app.command()
def verify(
    file: LogFile = None,
    head: Annotated[str, typer.Option(help="A hash that must stand in it, as an earlier verify printed it.")] = "",
) -> None:
    """Check the chain of hashes from the first line to the last, and print the last hash: keep it elsewhere."""
    if file is not None or head:
        from hotctl import audit

        verdict: Any = audit.verify(file or _own_log(), head=head)
    else:
        with client() as call:
            verdict = call.call("AuditService/VerifyAudit")
    record = {key: getattr(verdict, key) for key in ("whole", "records", "head_hash", "detail")}
    found = "whole" if verdict.whole else f"BROKEN behind line {verdict.records}: {verdict.detail}"
    show_one(record, lambda: f"{found}: {verdict.records} lines, last hash {verdict.head_hash}")
    if not verdict.whole:
        raise AuditError(f"the audit log is not whole: {verdict.detail}")


@app.command()
def export(file: Annotated[Path, typer.Argument(help="To be written; - is standard output.")]) -> None:
    """Write every line as it stands, for a check elsewhere: hotctl audit verify FILE."""
    with client() as call:
        chunks = (each.lines for each in call.stream("AuditService/ExportAudit"))
        if str(file) == "-":
            for chunk in chunks:
                sys.stdout.buffer.write(chunk)
            return
        with file.open("xb") as target:
            size = sum(target.write(chunk) for chunk in chunks)
    say(f"{file}: {size:,} bytes")


def _own_log() -> Path:
    from hotctl.audit import audit_path
    from hotctl.commands.options import profile
    from hotctl.errors import UsageError
    from hotpath.holders import state_dir_of

    engine = profile().engine
    state_dir = state_dir_of(engine)
    if state_dir is None:
        raise UsageError("which log? name its file, or an engine that runs on this host")
    return audit_path(state_dir, engine)
