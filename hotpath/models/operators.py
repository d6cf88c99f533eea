"""Which function lowers which operator: one table, filled by the modules lower_*."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hotpath.errors import ModelError, NotNativeError
from hotpath.models import (
    lower_conv,
    lower_dense,
    lower_elementwise,
    lower_linear,
    lower_recurrent,
    lower_shape,
    lower_trees,
)
from hotpath.models.tensors import Value

if TYPE_CHECKING:
    from hotpath.models.compile import Call, Lowering

LOWERINGS: dict[tuple[str, str], Lowering] = {
    **{("", name): function for name, function in lower_elementwise.LOWERINGS.items()},
    **{("", name): function for name, function in lower_shape.LOWERINGS.items()},
    **{("", name): function for name, function in lower_dense.LOWERINGS.items()},
    **{("", name): function for name, function in lower_recurrent.LOWERINGS.items()},
    **{("", name): function for name, function in lower_conv.LOWERINGS.items()},
    **{("ai.onnx.ml", name): function for name, function in lower_linear.LOWERINGS.items()},
    **{("ai.onnx.ml", name): function for name, function in lower_trees.LOWERINGS.items()},
}


def lower(call: Call) -> Sequence[Value]:
    """The values that a node makes. Raises NotNativeError for an operator without a lowering."""
    function = LOWERINGS.get((call.node.domain, call.node.op_type))
    if function is None:
        raise call.refuse("the native executor has no such operator")
    try:
        return function(call)
    except (NotNativeError, ModelError) as error:
        if str(error).startswith("node "):
            raise
        raise type(error)(f"{call.node.where()}: {error}", next_step=error.next_step) from error
    except (ValueError, IndexError, TypeError, OverflowError, ArithmeticError) as error:
        # Shapes or attributes that contradict one another, where NumPy is the first to see it.
        raise ModelError(f"{call.node.where()}: {error}", next_step="export the model again") from error
