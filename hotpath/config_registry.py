"""[registry]: where models come from, what they must pass, and how fast they must be."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field

Nanoseconds = Annotated[int, Meta(ge=1, le=10_000_000_000)]


class RegistryConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """[registry]: models, admitted from an inbox by the process `registrar`."""

    enabled: bool = False  # the registrar runs beside the engine; `hotpath registrar` does its work at any time
    folder: str = ""  # models, aliases, log and inbox; empty: ENGINE.registry in engine.state_dir
    require_signature: bool = False  # refuse a manifest that none of `keys` signed
    keys: list[str] = field(default_factory=list)  # files with the public keys of those who may publish
    require_sandbox: bool = True  # refuse admission on a host without Landlock or seccomp
    model_mib_max: Annotated[int, Meta(ge=1, le=1024)] = 64  # of one ONNX file; the rest of a version may be as large
    memory_mib_max: Annotated[int, Meta(ge=64, le=65536)] = 1024  # that loading and running a candidate may take
    seconds_max: Annotated[int, Meta(ge=1, le=3600)] = 60  # of a processor, for all of its trials
    latency_ns_max: Nanoseconds = 50_000  # warm, p99 of one run, on this machine
    latency_cold_ns_max: Nanoseconds = 5_000_000  # the first run
    interval_ms: Annotated[int, Meta(ge=10, le=60_000)] = 500  # between two looks at the inbox
