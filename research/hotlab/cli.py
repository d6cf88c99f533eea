"""The command line `hotlab`: from recordings to models.

An error that is raised on purpose is printed with what to do about it, and sets the exit code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from hotpath.errors import HotpathError

app = typer.Typer(
    help="hotlab: from recordings to models that trade. In the order of a day's work:\n\n"
    "ingest a capture or journal, features, label, train, evaluate, publish.\n\n"
    "docs/research.md is a tutorial of these commands.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Progress = Callable[[str, int, int], None]
DatasetDir = Annotated[Path, typer.Argument(metavar="DATASET", help="A folder that hotlab ingest made.")]
Json = Annotated[bool, typer.Option("--json", help="For machines: one JSON object.")]


@app.callback()
def hotlab() -> None:
    """From recordings to models."""


@app.command(
    epilog="Examples: hotlab ingest 20240105.itch --to data/jan5 | hotlab ingest out/demo/recording --to data/demo | "
    "hotlab ingest mine.csv --to data/mine --column time_ns=t --tick 0.01"
)
def ingest(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCE...", help="ITCH file, pcap, journal's folder, .parquet or .csv; in time order."),
    ],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="The dataset's folder, which must be new.")],
    allow_gaps: Annotated[
        bool, typer.Option("--allow-gaps", help="Take what is not whole; its gaps are recorded, in each manifest too.")
    ] = False,
    symbols: Annotated[list[str] | None, typer.Option("--symbol", help="Only this instrument; again for more.")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="An engine's TOML file: reference data of a capture.")
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="OURS=THEIRS", help="Of a table: the name of a column there."),
    ] = None,
    tick: Annotated[
        str, typer.Option("--tick", help="Of a table with decimal prices: the price of one tick, as 0.01.")
    ] = "",
    json: Json = False,
) -> None:
    """Make a dataset of recordings: every market event, as the path would see it.

    Captures go through the engine's own decoder and book; a journal's events are taken as they were. A source with a
    gap, or that cannot show that it has none, is refused.
    """
    from hotlab import ingest as ingesting

    options = ingesting.IngestOptions(
        allow_gaps=allow_gaps,
        config=config,
        symbols=tuple(symbols or ()),
        columns=dict(_pairs(columns or [], "--column")),
        tick=tick,
    )
    with _bar("reading", shown=not json) as progress:
        dataset = ingesting.ingest(sources, to, options, progress=progress)
    about = dataset.about
    events = sum(each.events for each in about.sources)
    gaps = sum(each.gap_count for each in about.sources)
    text = f"{to}: {events:,} events of {len(about.instruments)} instruments from {len(about.sources)} sources"
    _report(
        {"dataset": str(to), "identity": dataset.identity, "events": events, "symbols": about.symbols, "gaps": gaps},
        text + (f", with {gaps:,} gaps" if gaps else "") + f"\nnext: hotlab features {to}",
        json=json,
    )


@app.command()
def features(
    dataset: DatasetDir,
    config: Annotated[
        Path | None, typer.Option("--config", help="An engine's TOML file: take the windows of its [signal.features].")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=N", help="One window, as ema_fast=16; again for more.")
    ] = None,
    json: Json = False,
) -> None:
    """Compute every feature at every event, by the kernel of the live path: equal to the bit.

    research/README.md says what each feature is. Windows begin as in hotpath config show.
    """
    from hotlab.dataset import Dataset
    from hotlab.making import feature_config, make_features

    opened = Dataset(dataset)
    windows = feature_config(config, dict(_pairs(settings or [], "--set")))
    with _bar("features", shown=not json) as progress:
        make_features(opened, windows, progress)
    record = opened.about.features
    assert record is not None, "made above"
    _report(
        {"features": record.names, "kernel_hash": record.kernel_hash, "config": record.config},
        f"{dataset}: {len(record.names)} features (kernel {record.kernel_hash[:12]})\n"
        f"next: hotlab label {dataset} --kind fixed_horizon --horizon-ns 1000000000",
        json=json,
    )


@app.command()
def label(
    dataset: DatasetDir,
    kind: Annotated[str, typer.Option("--kind", help="fixed_horizon, triple_barrier or queue_aware.")],
    horizon_ns: Annotated[int, typer.Option("--horizon-ns", help="How far to look ahead, in venue time.")],
    up_ticks: Annotated[float, typer.Option("--up-ticks", help="triple_barrier: above the mid.")] = 0.0,
    down_ticks: Annotated[float, typer.Option("--down-ticks", help="triple_barrier: below the mid.")] = 0.0,
    name: Annotated[str, typer.Option("--name", help="Of the label; else its kind.")] = "",
    json: Json = False,
) -> None:
    """Say at each decision what would have been right: the column that a model learns.

    fixed_horizon: how the mid moves until then, in ticks. triple_barrier: +1, -1 or 0: which barrier the mid touches
    first. queue_aware: the move, where an order that joins the queue would have been filled; else 0.
    """
    from hotlab.dataset import Dataset
    from hotlab.making import label_record, make_label

    given = {"horizon_ns": horizon_ns, "up_ticks": up_ticks, "down_ticks": down_ticks}
    record = label_record(kind, {key: float(value) for key, value in given.items()}, name)
    opened = Dataset(dataset)
    with _bar("labels", shown=not json) as progress:
        known = make_label(opened, record, progress)
    _report(
        {"label": record.name, "rows": known},
        f"{dataset}: label {record.name} at {known:,} decisions\n"
        f"next: hotlab train {dataset} --label {record.name} --to runs/first",
        json=json,
    )


@app.command(
    epilog="Example: hotlab train data/jan5 --label move --estimator lightgbm --made lean=product:imbalance_top,spread "
    "--to runs/lean"
)
def train(
    dataset: DatasetDir,
    label: Annotated[str, typer.Option("--label", help="Name of the label to learn.")],
    to: Annotated[Path, typer.Option("--to", metavar="RUN", help="The model's folder, which must be new.")],
    estimator: Annotated[
        str, typer.Option("--estimator", help="linear, logistic, lightgbm, xgboost, mlp or torch.")
    ] = "logistic",
    task: Annotated[str, typer.Option("--task", help="direction or move; else the estimator's first.")] = "",
    features: Annotated[
        list[str] | None, typer.Option("--feature", help="An input, in order; again for more. Else all without level.")
    ] = None,
    made: Annotated[
        list[str] | None,
        typer.Option("--made", metavar="NAME=OP:OF,...", help="A feature made of others, as lean=lag:spread,p=3."),
    ] = None,
    parameters: Annotated[
        list[str] | None, typer.Option("--param", metavar="KEY=VALUE", help="Of the estimator; again for more.")
    ] = None,
    every: Annotated[int, typer.Option("--every", min=1, help="Ask the model at every n-th change of the book.")] = 1,
    interval_ns: Annotated[int, typer.Option("--interval-ns", help="Ask it once an interval of venue time.")] = 0,
    unready: Annotated[
        str, typer.Option("--unready", help="abstain while an input is unknown, or pass the NaN.")
    ] = "abstain",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything that is drawn.")] = 1,
    json: Json = False,
) -> None:
    """Train a model on the whole dataset and export it as ONNX, compared row by row with who trained it.

    The same data, settings and seed make the same file. --made composes new inputs of known ones (sum, difference,
    product, ratio, least, most, absolute, scale, clip, lag, change, average): they run on the path without a release.
    """
    from hotlab import training
    from hotlab.dataset import Dataset
    from hotlab.made import made_features
    from hotpath.registry.manifest import Sampling

    composed = made_features(made or [])
    trigger = "timer" if interval_ns else "every_n" if every > 1 else "book_change"
    spec = training.TrainSpec(
        estimator=estimator,
        label=label,
        columns=features or training.default_columns(composed),
        made=composed,
        sampling=Sampling(trigger=trigger, every=every, interval_ns=interval_ns),  # type: ignore[arg-type]
        task=task,
        parameters={key: _value(text) for key, text in _pairs(parameters or [], "--param")},
        seed=seed,
        unready=unready,
    )
    with _spinner(f"training {estimator}", shown=not json):
        run = training.train(Dataset(dataset), spec, to)
    _report(
        {"run": str(to), "rows": run.rows, "model_sha256": run.model_sha256, "worst_difference": run.worst_difference},
        f"{to}: {estimator} on {run.rows:,} rows; ONNX Runtime differs by {run.worst_difference:.2g} at most\n"
        f"next: hotlab evaluate {to}",
        json=json,
    )


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder that hotlab train made.")],
    folds: Annotated[int, typer.Option("--folds", min=1, max=50, help="How often to refit and test.")] = 4,
    embargo_ns: Annotated[int, typer.Option("--embargo-ns", min=0, help="Left out before each test, besides.")] = 0,
    threshold: Annotated[
        float, typer.Option("--threshold", min=0.0, max=1.0, help="Of |score|, for the equity.")
    ] = 0.3,
    html: Annotated[bool, typer.Option("--html/--no-html", help="Write report.html.")] = True,
    json: Json = False,
) -> None:
    """Test the model only on what came after what it learned from, with 95 % intervals, and write the report.

    Rows whose label reaches into the test are purged. Figures without an interval that excludes chance are chance.
    """
    from hotlab import evaluation as evaluating
    from hotlab.training import read_run

    with _bar("walk forward", shown=not json) as progress:
        evaluation, evidence = evaluating.evaluate(
            run, folds=folds, embargo_ns=embargo_ns, threshold=threshold, progress=progress
        )
    lines = [
        f"  {name.replace('_', ' '):<18} {each.value:8.4f}   {each.low:8.4f} to {each.high:8.4f}"
        for name, each in evaluation.figures.items()
    ]
    lines += [f"  note: {note}" for note in evaluation.notes]
    if html:
        from hotlab.report import write_report

        lines.append(f"report: {write_report(run, read_run(run), evaluation, evidence)}")
    lines.append(f"next: hotlab publish {run} --name NAME --registry DIR")
    import msgspec

    _report(msgspec.to_builtins(evaluation), "\n".join([f"{run}: out of sample", *lines]), json=json)


from hotlab.registry_cli import register  # noqa: E402  # after the verbs of the day's work, in whose order help lists them

register(app)


# ---- what the verbs share --------------------------------------------------------------------------


def _pairs(texts: list[str], option: str) -> Iterator[tuple[str, str]]:
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key or not value:
            raise typer.BadParameter(f"{text}: must be KEY=VALUE", param_hint=option)
        yield key, value


@contextmanager
def _bar(what: str, *, shown: bool) -> Iterator[Progress]:
    """A bar on the terminal while work is done; nothing where nobody looks."""
    if not shown or not sys.stderr.isatty():
        yield lambda name, done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bars

    with Bars(console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def advance(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(f"{what} {name}", total=total)
            bars.update(tasks[name], completed=done, total=total)

        yield advance


@contextmanager
def _spinner(what: str, *, shown: bool) -> Iterator[None]:
    """Something that moves while work of unknown length is done."""
    if not shown or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


def _value(text: str) -> float | int | str | bool:
    """A parameter as the number or word that it is."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _report(summary: dict[str, Any], text: str, *, json: bool) -> None:
    """One result, for a machine or for people."""
    if json:
        import msgspec

        print(msgspec.json.encode(summary).decode())
    else:
        print(text)


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except HotpathError as error:
        print(f"hotlab: {error}", file=sys.stderr)
        if error.next_step:
            print(f"  {error.next_step}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of our output went away: not our failure
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
