"""Features made of others, as they are written on a command line: NAME=OP:OF[,OF][,p=N][,q=N]."""

from __future__ import annotations

import msgspec

from hotlab.errors import TrainingError
from hotpath.registry.composition import program_of
from hotpath.registry.errors import ManifestError
from hotpath.registry.manifest import MadeFeature

FORM = "as lean=product:imbalance_top,spread or before=lag:mid,p=5"


def made_features(texts: list[str]) -> list[MadeFeature]:
    """Each of `texts`, checked together. Raises TrainingError."""
    made = [_made(text) for text in texts]
    try:
        program_of(made)
    except ManifestError as error:
        raise TrainingError(str(error)) from None
    return made


def _made(text: str) -> MadeFeature:
    name, _, rest = text.partition("=")
    op, _, operands = rest.partition(":")
    found: dict[str, object] = {"name": name, "op": op, "of": []}
    of: list[str] = []
    for part in filter(None, operands.split(",")):
        key, separator, value = part.partition("=")
        if not separator:
            of.append(part)
            continue
        if key not in ("p", "q"):
            raise TrainingError(f"--made {text}: {key} is no parameter: p or q", next_step=FORM)
        try:
            found[key] = float(value)
        except ValueError:
            raise TrainingError(f"--made {text}: {key} is no number", next_step=FORM) from None
    found["of"] = of
    try:
        return msgspec.convert(found, MadeFeature)
    except msgspec.ValidationError as error:
        raise TrainingError(f"--made {text}: {error}", next_step=FORM) from None
