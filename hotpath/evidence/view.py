"""A pack's verdict on the terminal."""

from __future__ import annotations

from dataclasses import asdict

import msgspec
from rich.console import Console
from rich.text import Text

from hotpath.evidence.verify import Verdict


def print_verdict(verdict: Verdict, *, json: bool, what: str) -> None:
    """What was found. `what`: written, or verified."""
    if json:
        print(msgspec.json.encode({**asdict(verdict), "good": verdict.good}).decode())
        return
    console = Console(highlight=False, soft_wrap=True)
    title = Text.assemble((" hotpath evidence ", "bold reverse"), " ", (verdict.pack, "bold"), f"  {what}")
    console.print(title)
    console.print(f" trading day {verdict.day}, {verdict.files:,} files, {verdict.orders:,} order events")
    by = "the key given" if verdict.key_given else "the key in the pack: compare its fingerprint by another way"
    console.print(Text(f" signed by {verdict.fingerprint}, {by}", style="dim"))
    for problem in verdict.problems:
        console.print(Text(f" {problem}", style="red"))
    if verdict.good:
        console.print(Text(" good: signed, whole and unchanged", style="bold green"))
    else:
        console.print(Text(" NOT GOOD", style="bold red"))
