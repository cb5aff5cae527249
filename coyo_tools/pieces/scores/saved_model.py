"""TensorFlow's SavedModel without TensorFlow: its variables, and the tables of its lookups.

Variables are a "tensor bundle": an index in LevelDB's table format (keys with their prefixes left
out, uncompressed) of places in a file of raw arrays. Tables are constants of the graph, which is
a protocol buffer. Nothing of the graph is run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

VARIABLE = "/.ATTRIBUTES/VARIABLE_VALUE"
_MAGIC = 0xDB4775248B80FB57
_FOOTER_BYTES = 48
_FLOAT, _STRING, _INT64 = 1, 7, 9  # tensorflow.DataType
_META_GRAPH, _GRAPH, _NODE = 2, 2, 1  # fields of SavedModel, MetaGraphDef, GraphDef,
_OPERATION, _ATTRIBUTE = 2, 5  # NodeDef,
_KEY, _VALUE, _TENSOR = 1, 2, 8  # its attributes,
_DTYPE, _CONTENT, _STRINGS = 1, 4, 8  # TensorProto,
_SHAPE, _OFFSET, _SIZE = 2, 4, 5  # and BundleEntryProto


def read_variables(index: bytes, data: bytes) -> dict[str, Array]:
    """Float32 arrays by name; what else the bundle holds has its name and an empty array.

    Raises ValueError on anything but a whole bundle of one file.
    """
    import numpy as np

    found = {}
    for name, entry in _entries(index):
        if not name:  # the header
            continue
        fields = dict(_fields(entry))
        shape = [dict(_fields(d)).get(1, 0) for _, d in _fields(fields.get(_SHAPE, b""))]
        if fields.get(_DTYPE) != _FLOAT or not name.endswith(VARIABLE):
            found[name] = np.empty(0, np.float32)
            continue
        start, size = fields.get(_OFFSET, 0), fields[_SIZE]
        if start + size > len(data):
            raise ValueError(f"its file of variables ends at {len(data):,} bytes")
        array = np.frombuffer(data[start : start + size], "<f4").reshape(shape)
        found[name.removesuffix(VARIABLE)] = array
    return found


def _entries(table: bytes) -> Iterator[tuple[str, bytes]]:
    """Keys and values of a LevelDB table."""
    if int.from_bytes(table[-8:], "little") != _MAGIC:
        raise ValueError("its index of variables is none, or cut off")
    at = len(table) - _FOOTER_BYTES
    numbers = []
    for _ in range(4):  # offset and size of the metaindex, then of the index
        number, at = _varint(table, at)
        numbers.append(number)
    for _, handle in _block(table, *numbers[2:]):
        offset, at = _varint(handle, 0)
        size, _ = _varint(handle, at)
        for key, value in _block(table, offset, size):
            yield key.decode(), value


def _block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    block = table[offset : offset + size]
    if table[offset + size] != 0:
        raise ValueError("its index of variables is compressed")
    end = size - 4 - 4 * int.from_bytes(block[-4:], "little")
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + length]
        at += own + length


def read_tables(saved_model: bytes) -> list[dict[str, int]]:
    """The lookups from text to number, in the graph's order: constants that come as a pair.

    Raises ValueError on what is no protocol buffer.
    """
    import numpy as np

    tables, keys = [], None
    for tensor in _constants(saved_model):
        fields: dict[int, Any] = {}
        for number, value in _fields(tensor):
            fields.setdefault(number, []).append(value)
        kind = fields[_DTYPE][0]
        if kind == _STRING and len(fields.get(_STRINGS, [])) > 1:
            keys = [text.decode() for text in fields[_STRINGS]]
        elif kind == _INT64 and keys is not None and _CONTENT in fields:
            values = np.frombuffer(fields[_CONTENT][0], "<i8").tolist()
            tables.append(dict(zip(keys, values, strict=True)))
            keys = None
    return tables


def _constants(saved_model: bytes) -> Iterator[bytes]:
    """The tensor of each Const node of the first graph, outside its functions."""
    graph = _first(_first(saved_model, _META_GRAPH), _GRAPH)
    for number, node in _fields(graph):
        if number != _NODE or _first(node, _OPERATION) != b"Const":
            continue
        for each, attribute in _fields(node):
            if each == _ATTRIBUTE and _first(attribute, _KEY) == b"value":
                yield _first(_first(attribute, _VALUE), _TENSOR)


def _first(message: bytes, wanted: int) -> bytes:
    for number, value in _fields(message):
        if number == wanted:
            return value  # type: ignore[no-any-return]
    raise ValueError(f"its graph lacks a field {wanted}")


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Field numbers and values of a protocol buffer: int, or bytes."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        size = {1: 8, 5: 4}.get(kind)
        if kind == 2:
            size, at = _varint(message, at)
        if size is None or at + size > len(message):
            raise ValueError("its graph is no protocol buffer, or cut off")
        yield tag >> 3, message[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, low ones first, and where it ends."""
    number = shift = 0
    while at < len(data):
        byte = data[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at
    raise ValueError("a number of its files is cut off")
