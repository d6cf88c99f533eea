"""[control] of the configuration: who may hold an engine from outside, through which doors."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Role = Literal["viewer", "operator", "risk_officer", "admin"]
Known = Annotated[str, Meta(pattern=r"^(unix|cert):[A-Za-z0-9_.-]{1,63}$")]
SOCKET_BYTES_MAX = 107  # of a unix socket's path: sun_path, less its end


class WebhookConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """[control.webhook]: where alerts are posted, signed with HMAC-SHA256 of a shared secret."""

    url: str = ""  # empty: nowhere
    secret_env: str = ""  # name of the environment variable that holds the secret
    timeout_ms: Annotated[int, Meta(ge=100, le=60_000)] = 3000


class ControlConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """[control]: the process `control`, which operators reach with `hotctl`."""

    enabled: bool = False  # beside the engine; `hotctl serve CONFIG` does it at any time
    socket: str = ""  # unix socket; empty: ENGINE.control.sock in engine.state_dir
    host: str = ""  # where mutual TLS is listened on; empty: nowhere
    port: Annotated[int, Meta(ge=0, le=65535)] = 26500  # 0: any that is free
    tls_dir: str = ""  # ca.pem, server.pem, server.key, crl.pem, as `hotctl certs` makes them; empty: none
    envelope: str = ""  # the signed deployment envelope; empty: there is none
    envelope_key: str = ""  # the public key that must have signed it
    seat: str = ""  # the name of the [[coprocesses]] seat that `hotctl flatten` sends through; empty: none
    single_operator: bool = False  # one person may arm and raise limits alone; status says so
    approval_s: Annotated[int, Meta(ge=1, le=86_400)] = 300  # that a request waits for its second person
    # more and other than the defaults: the owner of the process is admin, a certificate has the role that it names
    roles: dict[Known, Role] = field(default_factory=dict)
    request_bytes_max: Annotated[int, Meta(ge=1024, le=4 << 20)] = 64 << 10
    requests_per_second_max: Annotated[int, Meta(ge=1, le=100_000)] = 100  # of each identity; a kill is never refused
    connections_max: Annotated[int, Meta(ge=1, le=1024)] = 64
    watchers_max: Annotated[int, Meta(ge=1, le=64)] = 8  # streams at a time
    interval_ms: Annotated[int, Meta(ge=20, le=5000)] = 200  # between two looks at what others did
    webhook: WebhookConfig = field(default_factory=WebhookConfig)
