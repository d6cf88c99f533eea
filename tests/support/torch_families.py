"""Small torch nets as their users export them: dynamo's exporter and the older one."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import torch

from tests.support.model_families import Exported


class LastStep(torch.nn.Module):
    """A recurrent net over a window; a head on its last step."""

    def __init__(self, cell: Any, inputs: int, hidden: int, **options: Any) -> None:
        super().__init__()
        self.cell = cell(inputs, hidden, batch_first=True, **options)
        self.head = torch.nn.Linear(hidden * (2 if options.get("bidirectional") else 1), 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output, _ = self.cell(x)
        return self.head(output[:, -1])


class Stepped(torch.nn.Module):
    """One step, with the hidden state going in and coming out."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.cell = torch.nn.GRU(inputs, hidden)
        self.head = torch.nn.Linear(hidden, 2)

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        output, after = self.cell(x, h)
        return self.head(output[0]), after


class Causal(torch.nn.Module):
    """Dilated causal convolutions with a residual, read at the last step."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.first = torch.nn.Conv1d(inputs, channels, 3)
        self.second = torch.nn.Conv1d(channels, channels, 3, dilation=2)
        self.norm = torch.nn.BatchNorm1d(channels)
        self.head = torch.nn.Linear(channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pad = torch.nn.functional.pad
        x = x.transpose(1, 2)
        x = torch.relu(self.first(pad(x, (2, 0))))
        y = torch.nn.functional.gelu(self.norm(self.second(pad(x, (4, 0)))))
        return self.head((x + y)[:, :, -1])


class Flat(torch.nn.Module):
    """Strided convolutions over the whole window, flattened."""

    def __init__(self, inputs: int, steps: int) -> None:
        super().__init__()
        self.conv = torch.nn.Conv1d(inputs, 5, 4, stride=2, padding=1)
        self.head = torch.nn.Linear(5 * ((steps - 2) // 2 + 1), 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.nn.functional.silu(self.conv(x.transpose(1, 2)))
        return torch.softmax(self.head(y.flatten(1)), -1)


def _mlp(inputs: int, activation: Any, *middle: Any) -> Any:
    return torch.nn.Sequential(
        torch.nn.Linear(inputs, 32),
        activation(),
        *middle,
        torch.nn.Linear(32, 16),
        activation(),
        torch.nn.Linear(16, 1),
    )


def nets(seed: int) -> dict[str, tuple[Any, tuple[int, ...]]]:
    """Net and shape of its input, by name."""
    torch.manual_seed(seed)
    nn = torch.nn
    steps, inputs = 6 + seed % 5, 3 + seed % 7
    return {
        "MLP relu": (_mlp(inputs, nn.ReLU), (1, inputs)),
        "MLP gelu, layer norm": (_mlp(inputs, nn.GELU, nn.LayerNorm(32)), (1, inputs)),
        "MLP silu, batch norm": (_mlp(inputs, nn.SiLU, nn.BatchNorm1d(32)), (1, inputs)),
        "MLP elu, dropout": (_mlp(inputs, nn.ELU, nn.Dropout()), (1, inputs)),
        "MLP mish": (_mlp(inputs, nn.Mish), (1, inputs)),
        "MLP softplus": (_mlp(inputs, nn.Softplus), (1, inputs)),
        "MLP hardswish": (_mlp(inputs, nn.Hardswish), (1, inputs)),
        "GRU over a window": (LastStep(nn.GRU, inputs, 9), (1, steps, inputs)),
        "LSTM over a window": (LastStep(nn.LSTM, inputs, 17), (1, steps, inputs)),
        "LSTM, two layers": (LastStep(nn.LSTM, inputs, 8, num_layers=2), (1, steps, inputs)),
        "GRU, both directions": (LastStep(nn.GRU, inputs, 8, bidirectional=True), (1, steps, inputs)),
        "RNN over a window": (LastStep(nn.RNN, inputs, 8), (1, steps, inputs)),
        "causal convolutions": (Causal(inputs, 6), (1, 2 * steps + 8, inputs)),
        "strided convolution": (Flat(inputs, steps), (1, steps, inputs)),
    }


def exported(net: Any, shapes: list[tuple[int, ...]], *, seed: int, dynamo: bool, names: Any = None) -> Exported:
    """The file, and inputs for it (the first input's)."""
    net.eval()
    random = np.random.default_rng(seed)
    inputs = tuple(torch.zeros(shape) for shape in shapes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            program = torch.onnx.export(net, inputs, dynamo=True, verbose=False, **(names or {}))
            assert program is not None
            data = program.model_proto.SerializeToString()
        else:
            file = io.BytesIO()
            torch.onnx.export(net, inputs, file, dynamo=False, **(names or {}))
            data = file.getvalue()
    return Exported(data, random.normal(size=(20, *shapes[0])).astype(np.float32))
