"""The child that looks inside a candidate: confined first, then graph, load, run, parity, latency.

    python -m hotpath.registry.trial FOLDER < limits as JSON
    stdout: one JSON line for each gate as it is entered, one with the verdict, then the native blob

What is trusted is imported and warmed up before the walls go up; the first byte of the candidate is read after. The
child has no network, opens nothing but what lies in FOLDER, writes to no file, starts no process, and ends with its
processor time or memory. What it dies of is the parent's to tell (admission.py).
"""

from __future__ import annotations

import io
import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from ffi import ffi, lib
from hotpath.errors import ModelError, NotNativeError
from hotpath.models.compile import CompiledModel, compile_model
from hotpath.models.executor import NativeModel
from hotpath.models.onnx_reader import check_allowed, read_onnx
from hotpath.registry.manifest import (
    GOLDEN_INPUTS,
    GOLDEN_OUTPUTS,
    MANIFEST_FILE,
    MODEL_FILE,
    Manifest,
    decode_manifest,
)
from hotpath.registry.store import Latencies

DESCRIPTORS_MAX = 64
ROWS_MAX = 4096  # of golden rows
RUNS, WARM_RUNS, ROUNDS = 2000, 200, 3
NO_SANDBOX = "none"
SYSTEM_PATHS = (
    "/usr/lib",
    "/lib",
    "/lib64",
    "/usr/share/zoneinfo",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system/cpu",
)
Floats = npt.NDArray[np.float32]


class Limits(Struct, frozen=True):
    """What the parent allows."""

    memory_bytes: int
    cpu_seconds: int
    confine: bool
    latency_ns_max: int
    latency_cold_ns_max: int


class Gate(Struct, frozen=True):
    """A gate is entered."""

    at: str


class Verdict(Struct, frozen=True):
    """What was found. `gate`: the one that refused; empty: none did."""

    gate: str = ""
    found: str = ""
    next_step: str = ""
    executor: str = ""
    latency: dict[str, Latencies] = {}
    worst_difference: float = 0.0
    notes: list[str] = []
    blob_bytes: int = 0
    sandbox: str = ""


class RefusalError(Exception):
    """This gate refuses."""

    def __init__(self, gate: str, found: str, next_step: str) -> None:
        super().__init__(found)
        self.gate, self.next_step = gate, next_step


def main(folder: Path) -> int:
    """Entry point of the child."""
    limits = msgspec.json.decode(sys.stdin.buffer.read(), type=Limits)
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what libraries print is none of the verdict
    blob = b""
    try:
        _say(out, Gate("sandbox"))
        if limits.confine:
            confine_files(folder)
        runtime = _runtime()
        walls = confine(folder, limits)
        trial = Trial(folder, limits, runtime, lambda gate: _say(out, Gate(gate)))
        verdict, blob = trial.run()
        verdict = msgspec.structs.replace(verdict, sandbox=walls, blob_bytes=len(blob))
    except RefusalError as refusal:
        verdict = Verdict(gate=refusal.gate, found=str(refusal), next_step=refusal.next_step)
    _say(out, verdict)
    out.write(blob)
    return 0


def _say(out: Any, what: Gate | Verdict) -> None:
    out.write(msgspec.json.encode(what) + b"\n")


def _runtime() -> Any:
    """ONNX Runtime, with a session made and run once: its libraries, caches and tables are there by then."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    onnxruntime.disable_telemetry_events()
    session(onnxruntime, IDENTITY).run(None, {"x": np.zeros((1, 1), np.float32)})
    NativeModel(compile_model(IDENTITY).blob).run(np.zeros(1, np.float32))
    np.load(io.BytesIO(EMPTY_ARRAY), allow_pickle=False)
    _measure(lambda at: at, 0)
    return onnxruntime


EMPTY_ARRAY = (
    b"\x93NUMPY\x01\x00\x76\x00" + b"{'descr': '<f4', 'fortran_order': False, 'shape': (0, 0), }".ljust(117) + b"\n"
)
# The smallest model there is, y = Identity(x) over one number: ir 8, opset 15.
IDENTITY = bytes.fromhex(
    "08083a3f0a100a017812017922084964656e746974791201675a130a0178120e0a0c080112080a0208010a0208016213"
    "0a0179120e0a0c080112080a0208010a02080142040a00100f"
)


def session(runtime: Any, data: bytes) -> Any:
    """One model, one thread, memory given back."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False
    return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def confine_files(folder: Path) -> None:
    """The first wall, before there is a second thread: of files only what Python and its libraries are made of.

    ONNX Runtime starts a thread of its own when it is imported, which the narrower wall of `confine` does not reach.
    """
    paths = {str(folder), sys.prefix, sys.base_prefix, *filter(None, sys.path), *SYSTEM_PATHS}
    paths |= {str(Path(module.__file__).parent) for module in (np, msgspec) if module.__file__}
    texts = [ffi.new("char[]", os.fsencode(path)) for path in sorted(paths)]
    _must("Landlock", lib.sandbox_files(ffi.new("char *[]", texts), len(texts)))


def confine(folder: Path, limits: Limits) -> str:
    """Raise the other walls; returns what they are. Raises RefusalError where the host has them not."""
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    spent = sum(os.times()[:2])
    seconds = int(spent) + 1 + limits.cpu_seconds
    if lib.sandbox_limit(in_use + limits.memory_bytes, seconds, DESCRIPTORS_MAX) != lib.SANDBOX_OK:
        raise RefusalError("sandbox", "the kernel did not take the limits of memory and time", "see ulimit -a")
    if not limits.confine:
        return NO_SANDBOX
    version = lib.sandbox_landlock_version()
    _must("Landlock", lib.sandbox_files_narrow(os.fsencode(folder)))
    _must("seccomp", lib.sandbox_calls())
    return f"Landlock {version}, seccomp"


def _must(wall: str, status: int) -> None:
    if status != lib.SANDBOX_OK:
        word = ffi.typeof("enum sandbox_status").elements[status].removeprefix("SANDBOX_").lower()
        raise RefusalError(
            "sandbox",
            f"{wall} cannot be had here ({word}; error {ffi.errno})",
            "hotpath doctor tells what the host lacks; [registry] require_sandbox = false goes without",
        )


class Trial:
    """One candidate. `enter` is called with each gate's name."""

    def __init__(self, folder: Path, limits: Limits, runtime: Any, enter: Any) -> None:
        self.folder, self.limits, self.runtime, self.enter = folder, limits, runtime, enter
        self.notes: list[str] = []
        self.manifest: Manifest
        self.data = self._blob = b""

    def run(self) -> tuple[Verdict, bytes]:
        """Through the gates. Raises RefusalError."""
        self.manifest = decode_manifest((self.folder / MANIFEST_FILE).read_bytes(), where=MANIFEST_FILE)
        self.data = (self.folder / MODEL_FILE).read_bytes()
        self.enter("graph")
        self._graph()
        self.enter("load")
        native, blob = self._native()
        self._session = self._load()
        self.enter("run")
        golden, wanted = self._golden()
        exported, first_ns = self._run_all(golden)
        self.enter("parity")
        worst = self._parity(golden, wanted, exported, "ONNX Runtime", "the golden outputs")
        if native is not None:
            worst = max(worst, self._native_parity(native, golden, exported))
        self.enter("latency")
        measured = self._latency(native, golden, first_ns)
        executor = "native" if native is not None and self.manifest.executor != "onnxruntime" else "onnxruntime"
        verdict = Verdict(executor=executor, latency=measured, worst_difference=worst, notes=self.notes)
        return verdict, blob

    # ---- gates -------------------------------------------------------------------------------------

    def _graph(self) -> None:
        try:
            check_allowed(read_onnx(self.data))
        except ModelError as error:
            raise RefusalError("graph", str(error), error.next_step or "export it anew") from None

    def _native(self) -> tuple[NativeModel | None, bytes]:
        """The native executor's, where it can run the model."""
        try:
            compiled = self._compiled()
            self._blob = compiled.blob
            return NativeModel(compiled.blob), compiled.blob
        except NotNativeError as error:
            if self.manifest.executor == "native":
                raise RefusalError("load", f"native: {error}", 'publish with executor = "onnxruntime"') from None
            self.notes.append(f"native: {error}")
            return None, b""
        except ModelError as error:
            raise RefusalError("load", f"native: {error}", error.next_step or "export it anew") from None

    def _compiled(self) -> CompiledModel:
        score = self.manifest.outputs[self.manifest.policy.score.output].name
        return compile_model(self.data, outputs=[score], state=self.manifest.state.carried)

    def _load(self) -> Any:
        try:
            loaded = session(self.runtime, self.data)
        except Exception as error:  # the runtime promises no tree of errors
            raise RefusalError("load", f"ONNX Runtime: {_short(error)}", "export it anew") from None
        for kind, found, declared in (
            ("input", loaded.get_inputs(), self.manifest.inputs),
            ("output", loaded.get_outputs(), self.manifest.outputs),
        ):
            if [each.name for each in found] != [each.name for each in declared]:
                raise RefusalError(
                    "load",
                    f"its {kind}s are {', '.join(each.name for each in found)}; the manifest says "
                    f"{', '.join(each.name for each in declared)}",
                    "publish it again: hotlab publish",
                )
        carried = self.manifest.state.carried
        features = [each for each in loaded.get_inputs() if each.name not in carried]
        if len(features) != 1 or features[0].type != "tensor(float)":
            raise RefusalError(
                "load", "a model takes one float32 input, and its states", "join the inputs into one, of float32"
            )
        width = features[0].shape[-1] if features[0].shape else None
        if isinstance(width, int) and width != len(self.manifest.features.columns):
            raise RefusalError(
                "load",
                f"it takes {width} features; the manifest names {len(self.manifest.features.columns)}",
                "publish it again with the features that it was trained on",
            )
        self._features = features[0].name
        return loaded

    def _golden(self) -> tuple[Floats, Floats]:
        tables = []
        for name in (GOLDEN_INPUTS, GOLDEN_OUTPUTS):
            try:
                table = np.load(self.folder / name, allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise RefusalError("run", f"{name}: cannot be read: {_short(error)}", "publish it again") from None
            if table.dtype != np.float32 or table.ndim != 2 or not 0 < len(table) <= ROWS_MAX:
                raise RefusalError(
                    "run", f"{name}: {table.dtype} of shape {table.shape}", f"float32 rows, 1 to {ROWS_MAX:,}"
                )
            tables.append(table)
        if len(tables[0]) != len(tables[1]) or tables[0].shape[1] != len(self.manifest.features.columns):
            raise RefusalError(
                "run", f"golden rows of shapes {tables[0].shape} and {tables[1].shape} do not belong together",
                "publish it again",
            )  # fmt: skip
        return tables[0], tables[1]

    def _run_all(self, golden: Floats) -> tuple[Floats, int]:
        """The score's output for each row, states zero, and how long the very first run took."""
        index, rows, first_ns = self.manifest.policy.score.output, [], 0
        for row in golden:
            begin = time.perf_counter_ns()
            try:
                outputs = self._session.run(None, self._feed(row))
            except Exception as error:
                raise RefusalError("run", f"ONNX Runtime: {_short(error)}", "export it anew") from None
            first_ns = first_ns or time.perf_counter_ns() - begin
            rows.append(np.asarray(outputs[index], np.float32).reshape(-1))
        if len({len(each) for each in rows}) != 1 or len(rows[0]) <= self.manifest.policy.score.index:
            raise RefusalError(
                "run", f"its output has {len(rows[0])} columns; the score is column {self.manifest.policy.score.index}",
                "publish it again",
            )  # fmt: skip
        return np.vstack(rows), first_ns

    def _feed(self, row: Floats) -> dict[str, Floats]:
        feed = {self._features: row.reshape(1, -1)}
        for each in self._session.get_inputs():
            if each.name in self.manifest.state.carried:
                feed[each.name] = np.zeros([n if isinstance(n, int) else 1 for n in each.shape], np.float32)
        return feed

    def _native_parity(self, native: NativeModel, golden: Floats, exported: Floats) -> float:
        answers = []
        for row in golden:
            native.reset()
            answers.append(native.run(row))
        return self._parity(golden, np.vstack(answers), exported, "the native executor", "ONNX Runtime")

    def _parity(self, golden: Floats, one: Floats, other: Floats, this: str, that: str) -> float:
        """The greatest difference over finite rows. Rows that are not finite must agree where the model may meet
        them; where the manifest abstains from those, a difference is noted."""
        if one.shape != other.shape:
            raise RefusalError("parity", f"{this}: shape {one.shape}; {that}: {other.shape}", "publish it again")
        tolerance = self.manifest.tolerance
        with np.errstate(all="ignore"):
            difference = np.abs(one.astype(np.float64) - other)
            allowed = tolerance.absolute + tolerance.relative * np.abs(other.astype(np.float64))
            equal = (difference <= allowed) | (np.isnan(one) & np.isnan(other)) | (one == other)
        finite = np.isfinite(golden).all(axis=1)
        odd = ~equal.all(axis=1)
        strict = odd if self.manifest.features.unready == "pass" else odd & finite
        if strict.any():
            row = int(np.flatnonzero(strict)[0])
            raise RefusalError(
                "parity",
                f"row {row}: {this} and {that} differ: {_numbers(one[row])} and {_numbers(other[row])} "
                f"({int(strict.sum())} rows of {len(golden)})",
                "train and export again; a wider tolerance in the manifest accepts it",
            )
        if odd.any():
            self.notes.append(
                f"{int(odd.sum())} rows that are not finite: {this} and {that} differ (never met: abstains)"
            )
        known = difference[finite]
        return float(known[np.isfinite(known)].max(initial=0.0))

    def _latency(self, native: NativeModel | None, golden: Floats, first_ns: int) -> dict[str, Latencies]:
        rows = golden[np.isfinite(golden).all(axis=1)][:64]
        rows = rows if len(rows) else golden[:1]
        feeds = [self._feed(row) for row in rows]
        names = [self.manifest.outputs[self.manifest.policy.score.output].name]
        measured = {"onnxruntime": _measure(lambda at: self._session.run(names, feeds[at % len(feeds)]), first_ns)}
        if native is not None:
            outputs = np.empty(int(native.handle.output_count), np.float32)
            fresh = NativeModel(self._blob)
            begin = time.perf_counter_ns()
            fresh.run_into(rows[0], outputs)
            cold_ns = time.perf_counter_ns() - begin
            measured["native"] = _measure(lambda at: native.run_into(rows[at % len(rows)], outputs), cold_ns)
        chosen = "native" if native is not None and self.manifest.executor != "onnxruntime" else "onnxruntime"
        self._refuse_slow(chosen, measured[chosen])
        return measured

    def _refuse_slow(self, executor: str, latency: Latencies) -> None:
        for what, found, most, key in (
            ("p99 of a warm run", latency.p99_ns, self.limits.latency_ns_max, "latency_ns_max"),
            ("the first run", latency.cold_ns, self.limits.latency_cold_ns_max, "latency_cold_ns_max"),
        ):
            if found > most:
                raise RefusalError(
                    "latency",
                    f"{executor}: {what} took {found:,} ns; [registry] {key} is {most:,}",
                    "a smaller model; or another budget, where the path has it to spare",
                )


def _measure(run: Any, cold_ns: int) -> Latencies:
    """Of a few rounds the best: another process's turn on this processor is not the model's."""
    best: tuple[int, int] | None = None
    for _ in range(ROUNDS):
        taken = np.empty(RUNS + WARM_RUNS, np.int64)
        for at in range(len(taken)):
            begin = time.perf_counter_ns()
            run(at)
            taken[at] = time.perf_counter_ns() - begin
        p50, p99 = (int(each) for each in np.percentile(taken[WARM_RUNS:], [50, 99]))
        best = (p50, p99) if best is None or p99 < best[1] else best
    assert best is not None, "there is at least one round"
    return Latencies(best[0], best[1], cold_ns)


def _numbers(row: Floats) -> str:
    return "[" + ", ".join(f"{value:.6g}" for value in row[:4]) + ("" if len(row) <= 4 else ", ...") + "]"


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:300] or type(error).__name__


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
