"""The protocol: which methods there are, and the code that protoc makes of proto/hotctl/v1.

    proto/hotctl/v1/*.proto --python -m hotctl.protocol--> control/hotctl/v1/*_pb2.py, *.pyi   (committed)
                            --at a release-->              control/hotctl/v1/released.binpb    (what must not break)

Stubs of protoc's are not kept: they refuse every grpcio older than the one that made them, and a method's path and its
two messages are all that a call needs.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.protobuf.descriptor import MethodDescriptor
    from google.protobuf.message import Message

PACKAGE = "hotctl.v1"
FOLDER = Path(__file__).resolve().parent / "v1"
SOURCE = Path(__file__).resolve().parents[2] / "proto"  # in a checkout; an installed package has only what was made
RELEASED = FOLDER / "released.binpb"
FILES = (
    "approval",
    "audit",
    "engine",
    "ingest",
    "limits",
    "model",
    "mutation",
    "order",
    "snapshot",
    "strategy",
    "trading",
    "watch",
)


@cache
def methods() -> dict[str, MethodDescriptor]:
    """Every method by its short name, as "TradingService/Kill"."""
    found = {}
    for name in FILES:
        module = importlib.import_module(f"{PACKAGE}.{name}_pb2")
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                found[f"{service.name}/{method.name}"] = method
    return found


def path_of(method: str) -> str:
    """As it goes over the wire, of a short name."""
    return f"/{PACKAGE}.{method}"


def short_name(path: str) -> str:
    """Of a path on the wire; one of another package stays whole."""
    return path.removeprefix(f"/{PACKAGE}.")


def message_types(method: str) -> tuple[type[Message], type[Message]]:
    """Classes of a method's request and response."""
    from google.protobuf.message_factory import GetMessageClass

    found: Any = methods()[method]
    return GetMessageClass(found.input_type), GetMessageClass(found.output_type)


def generate(target: Path) -> None:
    """Write what protoc makes of the protocol below `target`. Needs grpcio-tools (the extra `dev`)."""
    import grpc_tools
    from grpc_tools import protoc

    bundled = Path(grpc_tools.__file__).parent / "_proto"
    sources = [str(SOURCE / "hotctl" / "v1" / f"{name}.proto") for name in FILES]
    options = [f"--python_out={target}", f"--pyi_out={target}"]
    if protoc.main(["protoc", f"-I{SOURCE}", f"-I{bundled}", *options, *sources]):
        raise RuntimeError("protoc refused the protocol: see above")


def describe(target: Path) -> None:
    """Write the descriptors of the protocol as it stands: what the next change must not break."""
    import grpc_tools
    from grpc_tools import protoc

    bundled = Path(grpc_tools.__file__).parent / "_proto"
    sources = [str(SOURCE / "hotctl" / "v1" / f"{name}.proto") for name in FILES]
    if protoc.main(["protoc", f"-I{SOURCE}", f"-I{bundled}", "--include_imports", f"-o{target}", *sources]):
        raise RuntimeError("protoc refused the protocol: see above")


def main() -> None:
    """`python -m hotctl.protocol [--release]`."""
    generate(FOLDER.parents[1])
    if "--release" in sys.argv[1:]:
        describe(RELEASED)


if __name__ == "__main__":
    main()
