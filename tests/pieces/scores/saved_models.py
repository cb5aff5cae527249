"""SavedModels of LAION's safety head for tests, written byte by byte: TensorFlow is not here."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from coyo_tools.pieces.scores.saved_model import VARIABLE

Array = np.ndarray[Any, Any]
Table = Mapping[str, int]


def varint(number: int) -> bytes:
    """7 bits a byte, low ones first."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def field(number: int, value: int | bytes) -> bytes:
    """A field of a protocol buffer."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def graph(tables: Sequence[Table]) -> bytes:
    """A saved_model.pb with a pair of constants a table, and other nodes between."""
    nodes = [field(1, b"Const") + field(2, b"Const") + constant(field(1, 9) + field(10, b"\0"))]
    for table in tables:
        size = field(2, field(2, field(1, len(table))))
        texts = b"".join(field(8, text.encode()) for text in table)
        numbers = np.array(list(table.values()), "<i8").tobytes()
        nodes += [
            field(1, b"x") + field(2, b"VarHandleOp"),
            field(1, b"keys") + field(2, b"Const") + constant(field(1, 7) + size + texts),
            field(1, b"values")
            + field(2, b"Const")
            + constant(field(1, 9) + size + field(4, numbers)),
        ]
    whole = b"".join(field(1, node) for node in nodes)
    return field(1, 1) + field(2, field(1, b"meta") + field(2, whole))


def constant(tensor: bytes) -> bytes:
    """The attributes of a Const node."""
    dtype = field(1, b"dtype") + field(2, field(6, 9))
    value = field(1, b"value") + field(2, field(8, tensor))
    return field(5, dtype) + field(5, value)


def bundle(variables: Mapping[str, Array], strings: Sequence[str] = ()) -> tuple[bytes, bytes]:
    """The index and the data of a tensor bundle."""
    entries = {"": field(1, 1)} | {name: field(1, 7) + field(5, 4) for name in strings}
    data = b""
    for name, array in variables.items():
        shape = b"".join(field(2, field(1, length)) for length in array.shape)
        place = field(4, len(data)) + field(5, array.nbytes)
        entries[name + VARIABLE] = field(1, 1) + field(2, shape) + place
        data += array.astype("<f4").tobytes()
    return table(entries), data


def table(entries: Mapping[str, bytes]) -> bytes:
    """A LevelDB table of one block."""
    first = block({name.encode(): value for name, value in entries.items()})
    second = block({b"zzz": varint(0) + varint(len(first))})
    start = len(first) + 5
    footer = varint(0) + varint(0) + varint(start) + varint(len(second))
    magic = (0xDB4775248B80FB57).to_bytes(8, "little")
    end = bytes(5)  # kind (not compressed) and checksum
    return first + end + second + end + footer.ljust(40, b"\0") + magic


def block(entries: Mapping[bytes, bytes]) -> bytes:
    """Sorted keys, each without what it shares with the one before."""
    out, before = b"", b""
    for key in sorted(entries):
        shared = next(
            (i for i, (a, b) in enumerate(zip(key, before, strict=False)) if a != b),
            min(len(key), len(before)),
        )
        own = key[shared:]
        out += varint(shared) + varint(len(own)) + varint(len(entries[key])) + own + entries[key]
        before = key
    return out + bytes(4) + (1).to_bytes(4, "little")


def safety_arrays(seed: int = 0) -> dict[str, Array]:
    """Random weights of the real architecture."""
    random = np.random.default_rng(seed)
    widths = (768, 64, 512, 256, 1)
    found = {
        "layer_with_weights-1/mean": random.normal(0, 0.02, 768),
        "layer_with_weights-1/variance": random.uniform(4e-4, 2e-3, 768),
    }
    for number, (into, out) in enumerate(pairwise(widths), 2):
        name = f"layer_with_weights-{number}"
        found[f"{name}/kernel"] = random.normal(0, into**-0.5, (into, out))
        found[f"{name}/bias"] = random.normal(0, 0.1, out)
    return {name: array.astype(np.float32) for name, array in found.items()}


def write_safety(path: Path, arrays: Mapping[str, Array], tables: Mapping[int, Table]) -> Path:
    """LAION's zip."""
    strings = [
        f"layer_with_weights-0/encoding_layers/{number}/token_counts/.ATTRIBUTES/table-keys"
        for number in tables
    ]
    index, data = bundle(arrays, strings)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("head/assets/", b"")
        archive.writestr("head/saved_model.pb", graph([tables[n] for n in sorted(tables)]))
        archive.writestr("head/variables/variables.index", index)
        archive.writestr("head/variables/variables.data-00000-of-00001", data)
    return path
