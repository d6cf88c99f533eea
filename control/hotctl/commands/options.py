"""What every verb has in common: which engine, how to print, how long to wait. May stand anywhere on the line.

Data goes to standard output, messages to standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hotctl.errors import CallError, PartialError, UsageError

if TYPE_CHECKING:
    from hotctl.client import Client
    from hotctl.profiles import Profile

Output = Literal["table", "json", "jsonl"]
OUTPUTS: tuple[Output, ...] = ("table", "json", "jsonl")
WITH_VALUE = {
    "-o": "output",
    "--output": "output",
    "--engine": "engine",
    "--profile": "profile",
    "--timeout": "timeout",
}
NO_INPUT = "--no-input"

Reason = Annotated[str, typer.Option("--reason", "-m", help="Why; it stands in the audit log.")]
RequestId = Annotated[
    str, typer.Option("--request-id", help="Of an earlier try: asks again without doing it twice. Default: a new one.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would change; change nothing.")]


@dataclass
class Options:
    """Of this command line."""

    output: Output = "table"
    engine: str = ""
    profile: str = ""
    timeout_s: float = 10.0
    no_input: bool = False


OPTIONS = Options()


def take_options(arguments: Sequence[str]) -> list[str]:
    """The command line without those that every verb has, which are kept in OPTIONS. Raises UsageError."""
    OPTIONS.__init__()  # type: ignore[misc]
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            return [*rest, word, *words]
        name, equals, value = word.partition("=")
        if word == NO_INPUT:
            OPTIONS.no_input = True
        elif name in WITH_VALUE and (equals or name == word):
            given = value if equals else next(words, None)
            if given is None:
                raise UsageError(f"{name}: a value must follow")
            _take(WITH_VALUE[name], given)
        else:
            rest.append(word)
    return rest


def _take(key: str, value: str) -> None:
    if key == "output":
        if value not in OUTPUTS:
            raise UsageError(f"-o {value}: one of {', '.join(OUTPUTS)}")
        OPTIONS.output = value
    elif key == "timeout":
        try:
            OPTIONS.timeout_s = float(value)
        except ValueError:
            raise UsageError(f"--timeout {value}: seconds, as 2.5") from None
    elif key == "engine":
        OPTIONS.engine = value
    else:
        OPTIONS.profile = value


def profile() -> Profile:
    """The engine that is meant."""
    from hotctl.profiles import choose

    return choose(profile=OPTIONS.profile, engine=OPTIONS.engine)


def client() -> Client:
    """Somebody to call."""
    from hotctl.client import Client

    return Client(profile(), timeout_s=OPTIONS.timeout_s)


def say(text: str) -> None:
    """A message for people, on standard error."""
    print(text, file=sys.stderr)


def show(rows: Iterable[dict[str, Any]], *, columns: Sequence[str], title: str = "") -> None:
    """Rows of data: a table, one JSON array, or one JSON object a line."""
    found = list(rows)
    if OPTIONS.output == "table":
        from rich.console import Console
        from rich.table import Table

        table = Table(title=title or None, box=None, pad_edge=False, header_style="bold", title_justify="left")
        for column in columns:
            numeric = all(isinstance(row.get(column), int | float) for row in found) and bool(found)
            table.add_column(column.replace("_", " "), justify="right" if numeric else "left", overflow="fold")
        for row in found:
            table.add_row(*(_cell(row.get(column, "")) for column in columns))
        Console(width=None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", "160"))).print(table)
        return
    _print_json(found, lines=OPTIONS.output == "jsonl")


def show_one(record: dict[str, Any], text: Callable[[], str]) -> None:
    """One thing: for people as `text` says it, for machines as JSON."""
    if OPTIONS.output == "table":
        print(text())
    else:
        _print_json([record], lines=True)


def _print_json(records: list[dict[str, Any]], *, lines: bool) -> None:
    import msgspec

    if lines:
        for record in records:
            print(msgspec.json.encode(record).decode())
    else:
        print(msgspec.json.format(msgspec.json.encode(records)).decode())


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def as_dict(message: Any) -> dict[str, Any]:
    """A message as data, every field of it, numbers as numbers."""
    found: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            found[field.name] = {k: as_dict(v) if hasattr(v, "DESCRIPTOR") else v for k, v in value.items()}
        elif field.is_repeated:
            found[field.name] = [as_dict(each) if field.message_type is not None else each for each in value]
        elif field.message_type is not None:
            found[field.name] = as_dict(value) if message.HasField(field.name) else None
        elif field.enum_type is not None:
            word = field.enum_type.values_by_number[value].name
            prefix = field.enum_type.values_by_number[0].name.removesuffix("UNSPECIFIED")
            found[field.name] = word.removeprefix(prefix).lower()
        else:
            found[field.name] = value
    return found


def show_receipt(response: Any, *, extra: Callable[[], str] = str) -> None:
    """What became of a mutation; ends the command with its exit code when it is not done."""
    record = as_dict(response)
    receipt = record["receipt"]

    def text() -> str:
        lines = [f"{receipt['outcome'].replace('_', ' ')}: {receipt['detail']}"]
        for change in receipt["changes"]:
            second = "  (raises: needs a second person)" if change["raises"] else ""
            lines.append(f"  {change['name']}: {change['before'] or '-'} -> {change['after'] or '-'}{second}")
        for each in receipt["preconditions"]:
            lines.append(f"  {'ok  ' if each['holds'] else 'MISS'} {each['name']}: {each['detail']}")
        if receipt["replayed"]:
            lines.append("  (this request was carried out before: nothing was done twice)")
        more = extra()
        return "\n".join([*lines, *([more] if more else [])])

    show_one(record, text)
    if receipt["outcome"] == "partial":
        raise PartialError(receipt["detail"])
    if receipt["outcome"] == "failed":
        raise CallError(receipt["detail"])
