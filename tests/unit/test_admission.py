"""Admission: hostile and broken candidates, each refused with its gate named; what is sound is admitted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from ffi import lib
from hotpath.registry import trial
from hotpath.registry.admission import admit, check_kernels, check_signature, copy_files, read_manifest
from hotpath.registry.errors import RefusedError
from hotpath.registry.log import Identity
from hotpath.registry.manifest import (
    GOLDEN_INPUTS,
    GOLDEN_OUTPUTS,
    MANIFEST_FILE,
    MODEL_FILE,
    SIGNATURE_FILE,
    Features,
    MadeFeature,
    NativeFeature,
    State,
    Tolerance,
    decode_manifest,
)
from hotpath.registry.store import Registry
from tests.support.candidates import (
    COLUMNS,
    ROOMY,
    file_records,
    golden,
    make_candidate,
    onnx_bytes,
    small_model,
    write_manifest,
)

ME = Identity("tester", "test")
replace = msgspec.structs.replace


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry.create(tmp_path / "registry")


def test_a_host_without_walls_says_so(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "lib", WallsMissing(lib))
    with pytest.raises(trial.RefusalError, match="Landlock cannot be had here"):
        trial.confine_files(tmp_path)


class WallsMissing:
    """The library of a host whose kernel has no Landlock."""

    def __init__(self, lib: Any) -> None:
        self._lib = lib

    def __getattr__(self, name: str) -> Any:
        if name == "sandbox_files":
            return lambda paths, count: self._lib.SANDBOX_MISSING
        return getattr(self._lib, name)


def refused(registry: Registry, candidate: Path, config: Any = ROOMY) -> RefusedError:
    with pytest.raises(RefusedError) as raised:
        admit(registry, candidate, config, ME)
    assert registry.names() == [] and not list(registry.staging.iterdir())
    return raised.value


def test_a_sound_candidate_is_admitted_confined_and_runs_natively(registry: Registry, tmp_path: Path) -> None:
    candidate = make_candidate(tmp_path / "c")
    name, version = admit(registry, candidate, ROOMY, ME)
    admission = registry.admission(name, version)
    assert (name, admission.executor) == ("small", "native") and set(admission.latency) == {"native", "onnxruntime"}
    assert admission.sandbox.startswith("Landlock") and admission.sandbox.endswith("seccomp")
    assert registry.verify() == []
    assert admit(registry, candidate, ROOMY, ME) == (name, version), "the same bytes are the same version"
    assert len(registry.entries()) == 1


# ---- files, checksum -------------------------------------------------------------------------------------


def relink(candidate: Path, kind: str, outside: Path) -> None:
    model = candidate / MODEL_FILE
    outside.write_bytes(model.read_bytes())
    model.unlink()
    if kind == "symbolic link":
        model.symlink_to(outside)
    elif kind == "hard link":
        os.link(outside, model)
    elif kind == "pipe":
        os.mkfifo(model)
    else:
        model.mkdir()


@pytest.mark.parametrize("kind", ["symbolic link", "hard link", "pipe", "folder"])
def test_a_model_that_is_no_plain_file_is_refused(kind: str, registry: Registry, tmp_path: Path) -> None:
    candidate = make_candidate(tmp_path / "c")
    relink(candidate, kind, tmp_path / "outside.onnx")
    assert refused(registry, candidate).gate == "files"


def test_other_files_and_sizes_are_refused(registry: Registry, tmp_path: Path) -> None:
    candidate = make_candidate(tmp_path / "more")
    (candidate / "weights.bin").write_bytes(b"x")
    assert "weights.bin" in refused(registry, candidate).found
    candidate = make_candidate(tmp_path / "large", model=small_model() + bytes(2 << 20))
    error = refused(registry, candidate, replace(ROOMY, model_mib_max=1))
    assert (error.gate, "model_mib_max" in error.next_step) == ("files", True)
    (tmp_path / "link").symlink_to(make_candidate(tmp_path / "c"))
    assert refused(registry, tmp_path / "link").gate == "files"
    (tmp_path / "empty").mkdir()
    assert refused(registry, tmp_path / "empty").gate == "files"


@pytest.mark.parametrize("name", [MODEL_FILE, GOLDEN_INPUTS])
def test_every_flipped_byte_is_seen(name: str, registry: Registry, tmp_path: Path) -> None:
    candidate = make_candidate(tmp_path / "c")
    data = bytearray((candidate / name).read_bytes())
    for at in range(0, len(data), max(1, len(data) // 20)):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        (candidate / name).write_bytes(changed)
        assert refused(registry, candidate).gate == "checksum"
    (candidate / name).write_bytes(data[:-1])
    assert refused(registry, candidate).gate == "checksum"


def test_files_and_manifest_name_each_other(registry: Registry, tmp_path: Path) -> None:
    candidate = make_candidate(tmp_path / "c")
    (candidate / "report.html").write_text("<html>")
    assert "report.html: is there and not in the manifest" in refused(registry, candidate).found
    (candidate / "report.html").unlink()
    (candidate / GOLDEN_OUTPUTS).unlink()
    assert f"{GOLDEN_OUTPUTS}: is in the manifest and not there" in refused(registry, candidate).found


# ---- manifest, features, signature -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "truncated"),
        (b"[" * 100_000, "manifest.json"),
        (b'{"format": 2}', "2"),
        (b"\xff\xfe", "manifest.json"),
        (b'{"name": "x", "surprise": 1}', "surprise"),
        (b" " * (1 << 21), "at most"),
    ],
)
def test_a_manifest_that_is_none_is_refused(text: bytes, words: str, registry: Registry, tmp_path: Path) -> None:
    candidate = make_candidate(tmp_path / "c")
    (candidate / MANIFEST_FILE).write_bytes(text)
    error = refused(registry, candidate)
    assert error.gate == "manifest" and words in error.found


@pytest.mark.parametrize("name", ["../up", "A", "x" * 41, "", "a/b", "-x", "a\n"])
def test_a_name_cannot_leave_its_folder(name: str, registry: Registry, tmp_path: Path) -> None:
    assert refused(registry, make_candidate(tmp_path / "c", name=name)).gate == "manifest"


def features(**changes: Any) -> Features:
    found: Features = decode_manifest_of(changes.pop("folder")).features
    return replace(found, **changes)


def decode_manifest_of(folder: Path) -> Any:
    return decode_manifest((folder / MANIFEST_FILE).read_bytes(), where="test")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kernel_hash": "0" * 64}, "trained on kernels 000000000000"),
        ({"columns": ["imbalance_tip", "spread", "mid"]}, "near it: imbalance_top"),
        ({"config": {"bar_ns": 1}}, "features.config"),
        ({"made": [MadeFeature(name="x", op="lag", of=["mid"], p=99)]}, "bad parameter"),
        ({"native": [NativeFeature(name="x", reference="evil.py:f", sha256="0" * 64)]}, "evil.py:f"),
    ],
)
def test_features_that_this_build_has_not_are_refused(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    candidate = make_candidate(tmp_path / "c")
    manifest = decode_manifest_of(candidate)
    with pytest.raises(RefusedError, match=words) as raised:
        check_kernels(replace(manifest, features=replace(manifest.features, **change)), ["mine.py:f"])
    assert raised.value.gate == "features"


def test_signatures_are_enforced_as_configured(tmp_path: Path) -> None:
    from hotpath.evidence.keys import new_key, public_path
    from hotpath.registry.signing import sign

    for name in ("desk", "stranger"):
        new_key(tmp_path / name)
    known = [str(public_path(tmp_path / "desk"))]
    candidate = make_candidate(tmp_path / "c")
    data = (candidate / MANIFEST_FILE).read_bytes()
    strict = replace(ROOMY, require_signature=True, keys=known)
    assert check_signature(candidate, data, ROOMY) == ("", ["not signed"])
    signature = candidate / SIGNATURE_FILE

    def gate(config: Any, text: bytes) -> str:
        signature.write_bytes(text)
        with pytest.raises(RefusedError) as raised:
            check_signature(candidate, data, config)
        return raised.value.gate

    good = sign(data, tmp_path / "desk")
    flipped = bytes([good[0] ^ 1]) + good[1:]
    assert {gate(strict, each) for each in (b"", b"x" * 64, good[:63], flipped)} == {"signature"}
    assert gate(strict, sign(data, tmp_path / "stranger")) == "signature"
    assert gate(strict, sign(data + b" ", tmp_path / "desk")) == "signature"
    assert gate(replace(ROOMY, keys=known), sign(data, tmp_path / "stranger")) == "signature", (
        "a wrong one never passes"
    )
    assert gate(replace(ROOMY, require_signature=True), good) == "signature"
    signature.write_bytes(good)
    assert check_signature(candidate, data, strict)[0]
    signature.unlink()
    with pytest.raises(RefusedError, match="not signed"):
        check_signature(candidate, data, strict)


# ---- what only the child sees: here without its walls, so that many are quick ----------------------------------


def trial_refuses(candidate: Path, *, latency_ns_max: int = 10**9) -> trial.RefusalError:
    import onnxruntime

    limits = trial.Limits(1 << 30, 60, confine=False, latency_ns_max=latency_ns_max, latency_cold_ns_max=10**10)
    with pytest.raises(trial.RefusalError) as raised:
        trial.Trial(candidate, limits, onnxruntime, lambda gate: None).run()
    return raised.value


def node(*words: Any, **attributes: Any) -> Any:
    from onnx import helper

    return helper.make_node(*words, **attributes)


def external_data() -> bytes:
    from onnx import TensorProto

    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3, 1], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "../../../etc/passwd"), ("offset", "0"), ("length", "12")):
        tensor.external_data.add(key=key, value=value)
    return onnx_bytes([node("MatMul", ["inputs", "w"], ["outputs"])], initializers=[tensor])


def endless_loop() -> bytes:
    from onnx import TensorProto, helper

    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [node("Identity", ["go"], ["on"]), node("Identity", ["x"], ["y"])],
        "body",
        [info("i", TensorProto.INT64, []), info("go", TensorProto.BOOL, []), info("x", TensorProto.FLOAT, None)],
        [info("on", TensorProto.BOOL, []), info("y", TensorProto.FLOAT, None)],
    )
    return onnx_bytes([node("Loop", ["", "", "inputs"], ["outputs"], body=body)])


def sparse_weight() -> bytes:
    from onnx import helper

    values = helper.make_tensor("w", 1, [1], [1.0])
    sparse = helper.make_sparse_tensor(values, helper.make_tensor("i", 7, [1], [0]), [3, 1])
    return onnx_bytes([node("MatMul", ["inputs", "w"], ["outputs"])], graph={"sparse_initializer": [sparse]})


def own_function() -> bytes:
    from onnx import helper

    opset = [helper.make_opsetid("", 15), helper.make_opsetid("evil", 1)]
    function = helper.make_function("evil", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], opset[:1])
    return onnx_bytes([node("Twice", ["inputs"], ["outputs"], domain="evil")], opsets=opset, functions=[function])


def huge_constant() -> bytes:
    from onnx import helper

    shape = helper.make_tensor("shape", 7, [2], [60_000, 60_000])
    nodes = [
        node("ConstantOfShape", ["shape"], ["big"]),
        node("ReduceSum", ["big"], ["sum"], keepdims=1),
        node("Gemm", ["inputs", "w"], ["one"]),
        node("Add", ["one", "sum"], ["outputs"]),
    ]
    weights = helper.make_tensor("w", 1, [3, 1], [1.0, 2.0, 3.0])
    return onnx_bytes(nodes, initializers=[shape, weights])


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "data in another file": (external_data, "external|another file"),
    "a loop without end": (endless_loop, "subgraph"),
    "a sparse tensor": (sparse_weight, "sparse"),
    "a function of its own": (own_function, "function"),
    "another domain": (
        lambda: onnx_bytes(
            [node("Gelu", ["inputs"], ["outputs"], domain="com.microsoft")], opsets=opsets("com.microsoft", 1)
        ),
        "com.microsoft",
    ),
    "an operator that is not allowed": (
        lambda: onnx_bytes([node("RandomNormalLike", ["inputs"], ["outputs"])]),
        "RandomNormalLike",
    ),
    "an opset from the future": (
        lambda: onnx_bytes([node("Identity", ["inputs"], ["outputs"])], opsets=opsets("", 99)),
        "opset",
    ),
    "a cycle": (
        lambda: onnx_bytes([node("Add", ["inputs", "outputs"], ["x"]), node("Relu", ["x"], ["outputs"])]),
        "before it is made",
    ),
    "nothing at all": (lambda: b"", "graph|empty|missing|no "),
    "half a file": (lambda: small_model()[: len(small_model()) // 2], ""),
    "a picture": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(100), ""),
    "a pickle": (lambda: b"\x80\x04\x95" + b"cos\nsystem\n(S'true'\ntR.", ""),
}


def opsets(domain: str, version: int) -> list[Any]:
    from onnx import helper

    return [helper.make_opsetid("", 15), helper.make_opsetid(domain, version)][1 if not domain else 0 :]


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_graph_is_refused_before_anything_loads_it(kind: str, tmp_path: Path) -> None:
    make, words = HOSTILE[kind]
    error = trial_refuses(make_candidate(tmp_path / "c", model=make()))
    assert error.gate == "graph", error
    import re

    assert re.search(words, str(error)), error


def test_flipped_bits_never_crash_the_walk(tmp_path: Path) -> None:
    """A model with some bits flipped is refused at a gate, or still is a model; nothing else comes out."""
    import onnxruntime

    random = np.random.default_rng(7)
    limits = trial.Limits(1 << 30, 60, confine=False, latency_ns_max=10**9, latency_cold_ns_max=10**10)
    candidate = make_candidate(tmp_path / "c")
    gates = set()
    for _ in range(60):
        data = bytearray(small_model())
        for at in random.integers(0, len(data), 3):
            data[at] ^= 1 << int(random.integers(8))
        (candidate / MODEL_FILE).write_bytes(data)
        one = trial.Trial(candidate, limits, onnxruntime, lambda gate: None)
        one.manifest, one.data = decode_manifest_of(candidate), bytes(data)
        try:
            one._graph()
            one._native()
        except trial.RefusalError as error:
            gates.add(error.gate)
    assert gates <= {"graph", "load"} and "graph" in gates


def rewritten(candidate: Path, **changes: Any) -> Path:
    """With files hashed anew and the manifest changed."""
    manifest = decode_manifest_of(candidate)
    write_manifest(candidate, replace(manifest, files=file_records(candidate), **changes))
    return candidate


def test_what_does_not_belong_together_is_refused_at_its_gate(tmp_path: Path) -> None:
    wide = make_candidate(
        tmp_path / "wide", features=features(folder=make_candidate(tmp_path / "a"), columns=COLUMNS[:2])
    )
    assert (trial_refuses(wide).gate, "takes 3 features" in str(trial_refuses(wide))) == ("load", True)
    native_only = make_candidate(
        tmp_path / "native", executor="native", model=onnx_bytes(
            [node("TopK", ["inputs", "k"], ["outputs", "i"])],
            initializers=[__import__("onnx").helper.make_tensor("k", 7, [1], [1])],
        ),
    )  # fmt: skip
    assert trial_refuses(native_only).gate == "load"
    pickled = make_candidate(tmp_path / "pickled")
    np.save(pickled / GOLDEN_INPUTS, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert trial_refuses(rewritten(pickled)).gate == "run"
    shapes = make_candidate(tmp_path / "shapes")
    np.save(shapes / GOLDEN_OUTPUTS, np.zeros((3, 1), np.float32))
    assert trial_refuses(rewritten(shapes)).gate == "run"
    carried = make_candidate(tmp_path / "state", state=State(floats=3, carried={"nowhere": "outputs"}))
    assert trial_refuses(carried).gate == "load"


def test_a_model_that_says_something_else_is_refused_by_parity(tmp_path: Path) -> None:
    other = make_candidate(tmp_path / "c", model=small_model(0.6))
    error = trial_refuses(other)
    assert error.gate == "parity" and "row 0" in str(error)
    lies = make_candidate(tmp_path / "nan")
    answers = golden()[1]
    answers[3] = np.nan
    np.save(lies / GOLDEN_OUTPUTS, answers)
    assert "row 3" in str(trial_refuses(rewritten(lies)))
    strict = make_candidate(tmp_path / "strict", model=small_model(0.5001), tolerance=Tolerance(0.0, 0.0))
    assert trial_refuses(strict).gate == "parity"


def test_a_slow_model_is_refused_with_its_budget(tmp_path: Path) -> None:
    error = trial_refuses(make_candidate(tmp_path / "c"), latency_ns_max=1)
    assert error.gate == "latency" and "latency_ns_max is 1" in str(error)


# ---- the walls -------------------------------------------------------------------------------------------


def test_a_model_that_asks_for_gigabytes_dies_in_its_child(registry: Registry, tmp_path: Path) -> None:
    candidate = make_candidate(tmp_path / "c", model=huge_constant(), executor="onnxruntime")
    error = refused(registry, candidate, replace(ROOMY, memory_mib_max=256))
    assert error.gate in ("graph", "load", "run"), error


ESCAPES = """
import ctypes, json, os, resource, signal, socket, subprocess, sys, threading
from pathlib import Path
from ffi import lib
from hotpath.registry import trial
folder = Path(sys.argv[1])
limits = trial.Limits(1 << 29, 60, True, 1, 1)
trial.confine_files(folder)
trial._runtime()
trial.confine(folder, limits)
c = ctypes.CDLL(None)
def denied(code):
    if code: raise PermissionError
def fork():
    if os.fork() == 0: os._exit(0)
def thread():
    started = threading.Thread(target=lambda: None); started.start(); started.join()
tries = {
    "network": lambda: socket.socket(),
    "local socket": lambda: socket.socketpair(),
    "read a file outside": lambda: open("/etc/passwd").read(),
    "read another's environment": lambda: open(f"/proc/{os.getppid()}/environ", "rb").read(),
    "list a folder outside": lambda: os.listdir("/"),
    "write a file inside": lambda: open(folder / "new", "w").write("x"),
    "remove a file inside": lambda: os.unlink(folder / "model.onnx"),
    "write shared memory": lambda: open("/dev/shm/escape", "w"),
    "fork": fork,
    "program": lambda: os.execv("/bin/true", ["true"]),
    "signal the parent": lambda: os.kill(os.getppid(), 0),
    "more memory": lambda: bytearray(1 << 31),
    "raise a limit": lambda: resource.setrlimit(resource.RLIMIT_AS, (-1, -1)),
    "link": lambda: os.link(folder / "model.onnx", folder / "other"),
    "own mounts": lambda: denied(c.unshare(0x00020000)),
    "trace": lambda: denied(c.ptrace(16, os.getppid(), 0, 0)),
    "THREAD, which is allowed": thread,
    "READ INSIDE, which is allowed": lambda: open(folder / "model.onnx", "rb").read(),
}
done = []
for name, attempt in tries.items():
    try:
        attempt()
        done.append(name)
    except (OSError, MemoryError, ValueError):
        pass
os.write(1, json.dumps(done).encode())
os._exit(0)
"""


def test_the_child_cannot_leave_its_walls(tmp_path: Path) -> None:
    candidate = make_candidate(tmp_path / "c")
    done = subprocess.run(
        [sys.executable, "-c", ESCAPES, str(candidate)],
        capture_output=True,
        timeout=60,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert json.loads(done.stdout) == ["THREAD, which is allowed", "READ INSIDE, which is allowed"]
    assert (candidate / MODEL_FILE).exists() and not (candidate / "new").exists()


def test_a_host_without_walls_refuses_unless_told_otherwise(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hotpath.registry.walls

    candidate = make_candidate(tmp_path / "c")
    monkeypatch.setattr(hotpath.registry.walls, "missing_walls", lambda: ["Landlock"])
    name, version = admit(registry, candidate, replace(ROOMY, require_sandbox=False), ME)
    assert registry.admission(name, version).sandbox == "none"


def test_a_child_that_is_killed_is_a_refusal_at_its_gate(registry: Registry, tmp_path: Path) -> None:
    slow = make_candidate(tmp_path / "c")
    rows = np.repeat(golden()[0][:1], 4096, axis=0)
    np.save(slow / GOLDEN_INPUTS, rows)
    np.save(slow / GOLDEN_OUTPUTS, np.repeat(golden()[1][:1], 4096, axis=0))
    model = many_layers(100)
    (slow / MODEL_FILE).write_bytes(model)
    error = refused(registry, rewritten(slow, executor="onnxruntime"), replace(ROOMY, seconds_max=1))
    assert error.gate in ("load", "run") and "1 s of a processor" in error.found


def many_layers(count: int) -> bytes:
    """A net that takes most of a millisecond a row."""
    from hotlab import graphs

    random = np.random.default_rng(3)
    sizes = [3, *[256] * count, 1]
    layers = [
        ((random.normal(size=(a, b)) / 16).astype(np.float32), np.zeros(b, np.float32)) for a, b in pairwise(sizes)
    ]
    zeros, ones = np.zeros(3, np.float32), np.ones(3, np.float32)
    return graphs.dense_net(layers, hidden="relu", last="sigmoid", mean=zeros, scale=ones)


def test_a_candidate_is_copied_before_it_is_looked_at(tmp_path: Path) -> None:
    candidate = make_candidate(tmp_path / "c")
    staged = tmp_path / "staged"
    staged.mkdir()
    copy_files(candidate, staged, ROOMY)
    (candidate / MODEL_FILE).write_bytes(b"changed meanwhile")
    assert (staged / MODEL_FILE).read_bytes() == small_model()
    assert read_manifest(staged)[0].name == "small"
