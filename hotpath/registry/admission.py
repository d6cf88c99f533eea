"""What a candidate must pass before it is a version: gate by gate, each refusal with what was found and what to do.

    files      plain files of known names and sizes, copied into a folder of ours
    manifest   the schema, and what no single type can say
    checksum   every file is the one that the manifest names
    signature  by a key of the configuration, when it demands one; a wrong one is always refused
    features   the kernels of this build give the bits that the model was trained on
    sandbox    the child is confined, or the configuration goes without      .
    graph      the protobuf walk: operators, opsets, sizes, nothing beside   |
    load       the native executor and ONNX Runtime take it                  |  in the child, trial.py
    run        every golden row                                              |
    parity     golden outputs, ONNX Runtime and native agree                 |
    latency    within the budget, warm and cold                              '
    ready      put in its place

A child that dies is refused at the gate at which it was.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec

from hotpath.config_registry import RegistryConfig
from hotpath.errors import EvidenceError
from hotpath.registry import signing
from hotpath.registry.composition import check_features, kernel_hash
from hotpath.registry.errors import ManifestError, RefusedError, RegistryError
from hotpath.registry.log import Identity
from hotpath.registry.manifest import (
    BLOB_FILE,
    GOLDEN_INPUTS,
    GOLDEN_OUTPUTS,
    MANIFEST_FILE,
    MODEL_FILE,
    REPORT_FILE,
    SIGNATURE_FILE,
    Manifest,
    decode_manifest,
    version_of,
)
from hotpath.registry.store import ADMISSION_FILE, Admission, Registry
from hotpath.spawn import module_command, module_environment

KNOWN_FILES = (
    MANIFEST_FILE,
    SIGNATURE_FILE,
    MODEL_FILE,
    GOLDEN_INPUTS,
    GOLDEN_OUTPUTS,
    REPORT_FILE,
    "evaluation.json",
    "run.json",
)
MIB = 1 << 20
BLOB_BYTES_MAX = 512 * MIB
LINE_BYTES_MAX = COMPLAINTS_MAX = 1 << 20
WALL_FACTOR, WALL_SECONDS = 3, 30  # the child's wall clock: so many times its processor time, and so much to start


def admit(
    registry: Registry, candidate: Path, config: RegistryConfig, who: Identity, *, native: Sequence[str] = ()
) -> tuple[str, str]:
    """Take a candidate through every gate and put it in its place; returns name and version.

    `native`: references of compiled features that the engine's configuration names. Raises RefusedError.
    """
    registry.staging.mkdir(exist_ok=True)
    staged = Path(tempfile.mkdtemp(dir=registry.staging))
    try:
        copy_files(candidate, staged, config)
        manifest, data = read_manifest(staged)
        check_files(staged, manifest)
        signed_by, notes = check_signature(staged, data, config)
        check_kernels(manifest, native)
        admission, blob = try_model(staged, config)
        admission = msgspec.structs.replace(admission, signed_by=signed_by, notes=[*notes, *admission.notes])
        if blob:
            (staged / BLOB_FILE).write_bytes(blob)
        (staged / ADMISSION_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(admission), indent=1))
        version = version_of(data)
        registry.install(staged, manifest.name, version, who)
        return manifest.name, version
    finally:
        shutil.rmtree(staged, ignore_errors=True)


# ---- gates of the parent -------------------------------------------------------------------------------


def copy_files(candidate: Path, staged: Path, config: RegistryConfig) -> None:
    """Gate `files`: everything is copied first, so that nobody changes it while it is looked at."""
    most = config.model_mib_max * MIB
    try:
        folder = os.open(candidate, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise RefusedError(
            "files", f"{candidate.name}: {error.strerror}", next_step="put a folder of plain files there"
        ) from None
    try:
        names = sorted(os.listdir(folder))
        for name in names:
            if name not in KNOWN_FILES:
                raise RefusedError(
                    "files", f"{name[:80]!r} is no file of a model", next_step=f"allowed are {', '.join(KNOWN_FILES)}"
                )
        for needed in (MANIFEST_FILE, MODEL_FILE):
            if needed not in names:
                raise RefusedError("files", f"{needed} is not there", next_step="publish it again: hotlab publish")
        for name in names:
            (staged / name).write_bytes(_read_plain(folder, name, most))
    finally:
        os.close(folder)


def _read_plain(folder: int, name: str, most: int) -> bytes:
    """A file's bytes, if it is one: no link of either kind, no device, not too large."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        raise RefusedError("files", f"{name}: {error.strerror}", next_step="put a plain file there, no link") from None
    about = os.fstat(descriptor)
    plain = stat.S_ISREG(about.st_mode) and about.st_nlink == 1
    if not plain:
        os.close(descriptor)
        raise RefusedError(
            "files",
            f"{name}: is no plain file of its own ({about.st_nlink} names)",
            next_step="copy it, do not link it",
        )
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise RefusedError(
            "files", f"{name}: more than {most:,} bytes", next_step="a smaller model, or [registry] model_mib_max"
        )
    return data


def read_manifest(staged: Path) -> tuple[Manifest, bytes]:
    """Gate `manifest`."""
    data = (staged / MANIFEST_FILE).read_bytes()
    try:
        return decode_manifest(data, where=MANIFEST_FILE), data
    except ManifestError as error:
        raise RefusedError("manifest", str(error), next_step=error.next_step) from None


def check_files(staged: Path, manifest: Manifest) -> None:
    """Gate `checksum`."""
    present = {path.name for path in staged.iterdir()} - {MANIFEST_FILE, SIGNATURE_FILE}
    for name in sorted(present ^ set(manifest.files)):
        found = "is there and not in the manifest" if name in present else "is in the manifest and not there"
        raise RefusedError("checksum", f"{name[:80]}: {found}", next_step="publish it again: hotlab publish")
    for name, record in manifest.files.items():
        data = (staged / name).read_bytes()
        if (len(data), hashlib.sha256(data).hexdigest()) != (record.bytes, record.sha256):
            raise RefusedError(
                "checksum",
                f"{name}: {len(data):,} bytes of another hash than the manifest says",
                next_step="it was cut or changed on its way: publish it again",
            )


def check_signature(staged: Path, data: bytes, config: RegistryConfig) -> tuple[str, list[str]]:
    """Gate `signature`: the fingerprint of the key that signed, and what is to be noted."""
    path = staged / SIGNATURE_FILE
    step = "sign it: hotlab publish --key FILE, with a key whose public half [registry] keys names"
    if not path.exists():
        if config.require_signature:
            raise RefusedError("signature", "it is not signed, and [registry] require_signature = true", next_step=step)
        return "", ["not signed"]
    signature = path.read_bytes()
    if len(signature) != signing.SIGNATURE_BYTES:
        raise RefusedError("signature", f"{len(signature)} bytes; a signature has 64", next_step=step)
    if not config.keys and not config.require_signature:
        return "", ["signed, by nobody that is known here: [registry] keys names none"]
    try:
        fingerprint = signing.verified_by(data, signature, [Path(each) for each in config.keys])
    except (RegistryError, EvidenceError) as error:
        raise RefusedError("signature", str(error), next_step=error.next_step) from None
    if not fingerprint:
        raise RefusedError("signature", "no key of [registry] keys made this signature", next_step=step)
    return fingerprint, []


def check_kernels(manifest: Manifest, native: Sequence[str]) -> None:
    """Gate `features`."""
    features = manifest.features
    if features.kernel_hash != kernel_hash():
        raise RefusedError(
            "features",
            f"trained on kernels {features.kernel_hash[:12]}; this build's are {kernel_hash()[:12]}",
            next_step="compute the features anew with this release and train again: hotlab features, hotlab train",
        )
    try:
        check_features(features)
    except ManifestError as error:
        raise RefusedError("features", str(error), next_step="train again with features that are there") from None
    for each in features.native:
        if each.reference not in native:
            raise RefusedError(
                "features",
                f"{each.name} is code ({each.reference[:80]}) that the engine's configuration does not name",
                next_step=f'signal.native = "{each.reference[:80]}", if you trust it',
            )


# ---- the child -----------------------------------------------------------------------------------------


def try_model(staged: Path, config: RegistryConfig) -> tuple[Admission, bytes]:
    """Gates `sandbox` to `latency`, in a child. Raises RefusedError."""
    from hotpath.registry.trial import Gate, Limits, Verdict

    limits = Limits(
        memory_bytes=config.memory_mib_max * MIB,
        cpu_seconds=config.seconds_max,
        confine=_confines(config),
        latency_ns_max=config.latency_ns_max,
        latency_cold_ns_max=config.latency_cold_ns_max,
    )
    environment = {**module_environment(), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    child = subprocess.Popen(
        module_command("hotpath.registry.trial", str(staged.resolve())),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
        cwd=staged,
    )
    said, complaints = _heard(
        child, msgspec.json.encode(limits), seconds=WALL_FACTOR * config.seconds_max + WALL_SECONDS
    )
    gate, verdict, blob = "sandbox", None, b""
    while not blob and verdict is None:
        line, separator, said = said.partition(b"\n")
        if not separator or len(line) > LINE_BYTES_MAX:
            break
        try:
            if line.startswith(b'{"at"'):
                gate = msgspec.json.decode(line, type=Gate).at
            else:
                verdict = msgspec.json.decode(line, type=Verdict)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            break
    if verdict is None or child.returncode:
        raise _died(child.returncode, gate[:40], complaints, config)
    if verdict.gate:
        raise RefusedError(verdict.gate, verdict.found, next_step=verdict.next_step)
    blob = said
    if len(blob) != verdict.blob_bytes or len(blob) > BLOB_BYTES_MAX:
        raise RefusedError("load", f"its native form came as {len(blob):,} bytes of {verdict.blob_bytes:,}")
    return (
        Admission(
            executor=verdict.executor,
            blob_sha256=hashlib.sha256(blob).hexdigest() if blob else "",
            latency=verdict.latency,
            worst_difference=verdict.worst_difference,
            signed_by="",
            sandbox=verdict.sandbox,
            host=platform.machine(),
            notes=verdict.notes,
        ),
        blob,
    )


def _heard(child: subprocess.Popen[bytes], told: bytes, *, seconds: float) -> tuple[bytes, bytes]:
    """What the child says, and its complaints, each up to a bound; a child that goes on for too long is killed."""
    assert child.stdin and child.stdout and child.stderr, "asked for above"
    complaints: list[bytes] = []
    pipe = child.stderr
    listener = threading.Thread(target=lambda: complaints.append(pipe.read(COMPLAINTS_MAX)), daemon=True)
    listener.start()
    timer = threading.Timer(seconds, child.kill)
    timer.start()
    try:
        try:
            child.stdin.write(told)
            child.stdin.close()
        except BrokenPipeError:
            pass  # it is dead already; what it left says why
        said = child.stdout.read(BLOB_BYTES_MAX + LINE_BYTES_MAX)
        child.stdout.close()
        listener.join(seconds)
        child.stderr.close()
        child.wait()
    finally:
        timer.cancel()
        if child.poll() is None:
            child.kill()
            child.wait()
    return said, b"".join(complaints)


def _confines(config: RegistryConfig) -> bool:
    from hotpath.registry.walls import missing_walls

    return config.require_sandbox or not missing_walls()


def _died(code: int, gate: str, complaints: bytes, config: RegistryConfig) -> RefusedError:
    """The refusal of a child that gave no verdict."""
    text = complaints.decode("utf-8", "replace").strip().splitlines()
    last = text[-1][:300] if text else ""
    if code == -signal.SIGXCPU or code == -signal.SIGKILL:
        found, step = (
            f"took more than {config.seconds_max} s of a processor",
            "a smaller model, or [registry] seconds_max",
        )
    elif "MemoryError" in last or "bad_alloc" in last or "Unable to allocate" in last:
        found, step = (
            f"asked for more than {config.memory_mib_max:,} MiB",
            "a smaller model, or [registry] memory_mib_max",
        )
    else:
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        found, step = (
            f"the child died ({how}){f': {last}' if last else ''}",
            "export it anew; if it stays so, report it",
        )
    return RefusedError(gate, found, next_step=step)
