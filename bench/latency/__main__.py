"""Did this change make the path slower? ``python -m bench.latency``, or ``make latency``.

Compares two commits in one job: instructions (exact), allocations, system calls and memory (exact), and time
(paired, interleaved, with base against itself as a control). Prints a table for each and a verdict:

  exit 0  pass           no test shows a regression, and each was able to show one
  exit 1  fail           a regression was shown; the tests that showed it are named
  exit 2                 the job could not be run
  exit 3  inconclusive   something could not be told from the machine's noise: run it again on a quieter machine

  python -m bench.latency                      the working tree, as it is, against where it left main; then its budget
  python -m bench.latency --base v0.1 --quick  against a tag, in under three minutes
  python -m bench.latency --plant ns50         can the gate see 50 ns an event? must exit with 1
  python -m bench.latency --self-check 10      does it see what is not there? head against itself, ten times
  python -m bench.latency --only budget        no comparison: this tree's path against its budget, by stage

Measure on a quiet machine with two processors. Results: out/bench/history/, with a page of trends.
"""

from __future__ import annotations

import argparse
import sys

import msgspec
from rich.console import Console
from rich.markup import escape

from bench.harness import BenchError, Finding, Options, Size, default_options, fingerprint, write_records
from bench.latency import budget, history
from bench.latency.gate import PARTS, Job, Request, run_job, self_check, self_check_verdict
from bench.latency.plants import PLANTS
from bench.latency.verdict import Verdict
from bench.run import show

BUDGET = "budget"
STYLES = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.INCONCLUSIVE: "yellow"}


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    chosen = parser().parse_args(arguments)
    size: Size = "smoke" if chosen.smoke else "quick" if chosen.quick else "full"
    options = default_options(size)
    console = Console(stderr=chosen.json, width=None if sys.stdout.isatty() else 150, highlight=False)
    host = fingerprint()
    console.print(f"{host['processor']}, {host['cpus']} processors, Linux {host['kernel']}, {host['compiler']}")

    def say(text: str) -> None:
        console.print(f"[dim]{escape(text)}[/]")

    def done(job: Job) -> None:
        page = history.keep(job)
        show_job(job, console)
        console.print(f"[dim]history: {escape(str(page))}[/]\n")
        if chosen.json:
            print(msgspec.json.encode(job.record()).decode(), flush=True)

    if chosen.only and BUDGET in chosen.only:
        return show_budget(options, console, json=chosen.json)
    request = Request(chosen.base, chosen.head, chosen.plant, tuple(chosen.only or ()))
    try:
        if chosen.self_check:
            jobs = self_check(request, options, chosen.self_check, say, done)
            verdict = self_check_verdict(jobs)
            show_self_check(jobs, verdict, console)
        else:
            job = run_job(request, options, say)
            done(job)
            verdict = job.verdict
            if size == "full" and not (chosen.only or chosen.plant or chosen.json):
                show_budget(options, console, json=False)
    except BenchError as error:
        console.print(f"[red]the job could not be run[/]: {escape(str(error))}")
        return 2
    return verdict.exit_code


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m bench.latency", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--base", metavar="REF", help="compare with this commit (default: where the branch left main)")
    made.add_argument("--head", metavar="REF", help="compare this commit (default: the working tree, changes and all)")
    made.add_argument("--quick", action="store_true", help="fewer rounds: under three minutes, finds less")
    made.add_argument("--smoke", action="store_true", help="hardly anything: does the job run at all?")
    made.add_argument("--json", action="store_true", help="the record of the job on standard output; tables on stderr")
    made.add_argument("--only", action="append", choices=(*PARTS, BUDGET), help="this part alone; may be given twice")
    plants = "; ".join(f"{name}: {plant.says}" for name, plant in PLANTS.items()).replace("%", "%%")
    made.add_argument("--plant", choices=PLANTS, metavar="NAME", help=f"head against head with a regression: {plants}")
    made.add_argument("--self-check", type=positive, metavar="N", help="N jobs of head against itself")
    return made


def positive(text: str) -> int:
    """A count of at least one."""
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return count


def show_budget(options: Options, console: Console, *, json: bool) -> int:
    """The path of this tree against its budget. A missed one is no regression: 0, or 2 when it could not be run."""
    try:
        finding = budget.run(options)
    except BenchError as error:
        console.print(f"[red]the budget could not be measured[/]: {escape(str(error))}")
        return 2
    write_records(finding, options)
    show(finding, console)
    for record in finding.records if json else ():
        print(msgspec.json.encode(record).decode(), flush=True)
    return 0


def show_job(job: Job, console: Console) -> None:
    """Tables, then why, then the verdict."""
    plant = f" with plant {job.plant}" if job.plant else ""
    console.print(f"\n[bold]base {job.base.commit[:12]}, head {job.head.commit[:12]}{plant}[/]\n")
    for part in job.parts:
        show(Finding(part.name, tables=part.tables), console)
    for style, sentences in (("red", job.caught), ("yellow", job.doubts)):
        for sentence in sentences:
            console.print(f"  [{style}]{escape(sentence)}[/]")
    parts = ", ".join(f"{part.name} {part.verdict.word} in {part.seconds:.0f} s" for part in job.parts)
    style = STYLES[job.verdict]
    console.print(f"\n[bold {style}]{job.verdict.word}[/] after {job.seconds:.0f} s: {parts}")


def show_self_check(jobs: list[Job], verdict: Verdict, console: Console) -> None:
    """How often the gate cried, and how often it did not know."""
    counted = {each: sum(job.verdict == each for job in jobs) for each in Verdict}
    words = ", ".join(f"{count} {each.word}" for each, count in counted.items())
    console.print(
        f"[bold {STYLES[verdict]}]self-check {verdict.word}[/]: {len(jobs)} jobs of head against itself: {words}"
    )


if __name__ == "__main__":
    sys.exit(main())
