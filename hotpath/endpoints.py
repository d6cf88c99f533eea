"""Where the processes beside the path listen: Unix sockets that only the engine's own user may open.

[tap] endpoint, or state_dir/ENGINE.tap  -->  the segment `endpoints`  -->  `hotpath tail ENGINE`
"""

from __future__ import annotations

from ffi import ffi, lib
from hotpath import segments
from hotpath.config import Config
from hotpath.errors import ConfigError, SegmentMissingError
from hotpath.segments import Segment
from hotpath.topology import CONTROL_SEGMENT, ENDPOINTS_SEGMENT

SCHEME = "ipc://"
ADDRESS_BYTES_MAX = ffi.sizeof("endpoint_entry") - 24 - 1  # a Unix socket's path may be a little longer


def tap_endpoint(config: Config) -> str:
    """Where the tap publishes."""
    return _endpoint("tap", config.tap.endpoint, config)


def ingress_endpoint(config: Config) -> str:
    """Where senders push the market."""
    return _endpoint("ingress", config.ingress.endpoint, config)


def _endpoint(process: str, configured: str, config: Config) -> str:
    """As configured, or a socket in the engine's folder. Raises ConfigError when its path is too long."""
    engine = config.engine
    address = configured or f"{SCHEME}{engine.state_dir}/{engine.name}.{process}"
    if len(address.encode()) > ADDRESS_BYTES_MAX:
        raise ConfigError(
            f"{process}.endpoint: {address} is longer than the path of a Unix socket may be",
            next_step=f'name a shorter one: [{process}] endpoint = "ipc:///run/hotpath/{engine.name}.{process}"',
        )
    return address


def publish_endpoints(table: Segment, endpoints: dict[str, str]) -> None:
    """Write the addresses into the engine's table, for whoever looks for them."""
    view = table.view("endpoint_entry", count=len(endpoints))
    for index, (process, address) in enumerate(endpoints.items()):
        view[index] = (process.encode(), address.encode())


def find_endpoint(engine: str, process: str) -> str | None:
    """Where a process of an engine listens, alive or not; None when it has none.

    Raises SegmentError when the engine has no memory here.
    """
    segments.attach(engine, CONTROL_SEGMENT, lib.SEGMENT_CONTROL, allow_dead=True)
    try:
        table = segments.attach(engine, ENDPOINTS_SEGMENT, lib.SEGMENT_ENDPOINTS, allow_dead=True)
    except SegmentMissingError:
        return None
    entries = table.view("endpoint_entry", count=table.info.capacity)
    found = [entry["address"] for entry in entries if entry["process"] == process.encode()]
    return str(found[0].decode()) if found else None
