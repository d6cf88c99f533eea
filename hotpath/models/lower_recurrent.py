"""GRU, LSTM and RNN, unrolled: a dense op over all steps' inputs, then a few ops a step.

A live model has one step, and its hidden state is an input that another output replaces (`state` of compile_model).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ffi import lib
from hotpath.errors import ModelError
from hotpath.models.lower_dense import dense_op
from hotpath.models.lower_shape import joined
from hotpath.models.tensors import Floats, Tensor, Value, contiguous, float32, fresh

if TYPE_CHECKING:
    from hotpath.models.compile import Call, Lowering

GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}
USUAL = {"GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"], "RNN": ["Tanh"]}


@dataclass
class _Direction:
    """One pass over the steps, forwards or back."""

    call: Call
    kind: str
    hidden: int
    steps: int
    source: Tensor
    """(steps, inputs), in C order."""
    w: Floats
    r: Floats
    wb: Floats
    rb: Floats
    h: int
    """Reference of the state before the first step."""
    c: int
    output: Tensor
    """(steps, directions, 1, hidden)."""
    place: int
    backwards: bool
    activation: int

    def run(self) -> None:
        """Write the ops of all steps."""
        program, hidden, gates = self.call.program, self.hidden, GATES[self.kind]
        after = self.kind == "GRU" and bool(self.call.integer("linear_before_reset", 0))
        bias = self.wb + self.rb
        if after:
            bias = np.concatenate([bias[: 2 * hidden], self.wb[2 * hidden :]])
        inputs = program.scratch(self.steps * gates * hidden)
        width = gates * hidden
        dense_op(program, self.source.ref, self.w, bias, inputs, rows=self.steps, strides=(self.source.shape[1], width))
        order = range(self.steps - 1, -1, -1) if self.backwards else range(self.steps)
        for step in order:
            target = self.output.ref + step * self.output.strides[0] + self.place * self.output.strides[1]
            gate_inputs = inputs + step * width
            if self.kind == "LSTM":
                self._lstm_step(gate_inputs, target)
            elif self.kind == "GRU":
                self._gru_step(gate_inputs, target, after=after)
            else:
                dense_op(program, self.h, self.r, gate_inputs, target).function = self.activation
            self.h = target

    def _lstm_step(self, gate_inputs: int, target: int) -> None:
        program = self.call.program
        gates, cell = program.scratch(4 * self.hidden), program.scratch(self.hidden)
        dense_op(program, self.h, self.r, gate_inputs, gates)
        program.op(lib.MODEL_LSTM_CELL, r=[gates, self.c, 0, target, cell], n=[self.hidden])
        self.c = cell

    def _gru_step(self, gate_inputs: int, target: int, *, after: bool) -> None:
        program, hidden = self.call.program, self.hidden
        gates, candidate = program.scratch(2 * hidden), program.scratch(hidden)
        dense_op(program, self.h, self.r[: 2 * hidden], gate_inputs, gates).function = lib.MODEL_SIGMOID
        candidate_inputs = gate_inputs + 2 * hidden
        if after:
            dense_op(program, self.h, self.r[2 * hidden :], self.rb[2 * hidden :], candidate)
            references = [gates, candidate_inputs, candidate, target, self.h]
        else:
            kept = program.scratch(hidden)
            program.op(
                lib.MODEL_COMBINE,
                function=lib.MODEL_MULTIPLY,
                r=[gates + hidden, self.h, 0, kept],
                n=[hidden, 1, hidden],
            )
            dense_op(program, kept, self.r[2 * hidden :], candidate_inputs, candidate)
            references = [gates, candidate, 0, target, self.h]
        program.op(lib.MODEL_GRU_CELL, r=references, n=[hidden, int(after)])


def _activation(call: Call, kind: str, directions: int) -> int:
    """Of an RNN; the others have the usual ones only."""
    given = call.texts("activations") or USUAL[kind] * directions
    if kind == "RNN" and given in (["Relu"] * directions, ["Tanh"] * directions):
        return int(lib.MODEL_RELU if given[0] == "Relu" else lib.MODEL_TANH)
    if given != USUAL[kind] * directions:
        raise call.refuse(f"activations {given}")
    return int(lib.MODEL_TANH)


def _check(call: Call, kind: str, source: Tensor) -> None:
    if len(source.shape) != 3 or source.shape[1] != 1 or call.integer("layout", 0):
        raise call.refuse(f"an input of shape {source.shape}: one sequence, time first")
    lengths = call.known_or(4)
    if lengths is not None and lengths.reshape(-1).tolist() != [source.shape[0]]:
        raise call.refuse(f"sequence lengths {lengths.tolist()}")
    if "clip" in call.node.attributes or call.integer("input_forget", 0):
        raise call.refuse("clip or input_forget")
    peepholes = call.known_or(7) if kind == "LSTM" else None
    if peepholes is not None and peepholes.any():
        raise call.refuse("peepholes")


def _state(call: Call, index: int, directions: int, hidden: int) -> Tensor:
    """The state before the first step: given, or zeros."""
    if call.optional(index) is None:
        return contiguous(call.program, np.zeros((directions, 1, hidden), np.float32))
    value = contiguous(call.program, call.tensor(index))
    if value.shape != (directions, 1, hidden):
        raise ModelError(f"{call.node.where()}: a state of shape {value.shape}, not {(directions, 1, hidden)}")
    return value


def _recurrent(call: Call) -> Sequence[Value]:
    kind = call.node.op_type
    source = contiguous(call.program, call.tensor(0))
    _check(call, kind, source)
    w, r = float32(call.known(1)), float32(call.known(2))
    direction = call.text("direction", "forward")
    directions = 2 if direction == "bidirectional" else 1
    if direction not in ("forward", "reverse", "bidirectional") or r.ndim != 3:
        raise ModelError(f"{call.node.where()}: direction {direction!r}, weights of shape {r.shape}")
    hidden, gates = r.shape[2], GATES[kind]
    if w.shape != (directions, gates * hidden, source.shape[2]) or r.shape != (directions, gates * hidden, hidden):
        raise ModelError(f"{call.node.where()}: weights of shapes {w.shape} and {r.shape}")
    third = call.known_or(3)
    bias = np.zeros((directions, 2 * gates * hidden), np.float32) if third is None else float32(third)
    if bias.shape != (directions, 2 * gates * hidden):
        raise ModelError(f"{call.node.where()}: a bias of shape {bias.shape}")
    steps = source.shape[0]
    h = _state(call, 5, directions, hidden)
    c = _state(call, 6, directions, hidden) if kind == "LSTM" else h
    output = fresh(call.program, (steps, directions, 1, hidden))
    activation = _activation(call, kind, directions)
    last_h, last_c = [], []
    for place in range(directions):
        one = _Direction(
            call=call,
            kind=kind,
            hidden=hidden,
            steps=steps,
            source=replace(source, shape=(steps, source.shape[2]), strides=(source.shape[2], 1)),
            w=w[place],
            r=r[place],
            wb=bias[place, : gates * hidden],
            rb=bias[place, gates * hidden :],
            h=h.ref + place * hidden,
            c=c.ref + place * hidden,
            output=output,
            place=place,
            backwards=direction == "reverse" or place == 1,
            activation=activation,
        )
        one.run()
        shape, strides = (1, 1, hidden), (hidden, hidden, 1)
        last_h.append(Tensor(one.h, shape, strides))
        last_c.append(Tensor(one.c, shape, strides))
    if directions == 1:
        return [output, last_h[0], last_c[0]]
    return [output, joined(call, last_h, 0), joined(call, last_c, 0)]


LOWERINGS: dict[str, Lowering] = {"GRU": _recurrent, "LSTM": _recurrent, "RNN": _recurrent}
