"""Models as packages for JavaScript carry them: TensorFlow.js layers models inside modules.

A topology (Keras' JSON, minified to a JavaScript literal) and weights as base64, most of them
quantised: value = min + scale * number (tensorflow/tfjs, io/io_utils.ts). Read, never run.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_TOKEN = re.compile(
    r'(?P<string>"(?:[^"\\]|\\.)*")|(?P<truth>![01])|(?P<word>[A-Za-z_$][\w$]*)'
    r"|(?P<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<mark>[{}\[\]:,])|\s+"
)
_STORED = {None: "<f4", "uint8": "|u1", "uint16": "<u2"}


def read_literal(script: str, start: int) -> Any:
    """The object or array that starts there, written as a minifier writes it.

    Keys without quotes, !0 and !1, .5: as JSON otherwise. Raises ValueError.
    """
    found, depth, at = [], 0, start
    while True:
        token = _TOKEN.match(script, at)
        if token is None:
            raise ValueError(f"no literal at character {at}")
        at = token.end()
        found.append(_as_json(token, script))
        depth += (token.group() in ("{", "[")) - (token.group() in ("}", "]"))
        if depth == 0:
            return json.loads("".join(found))


def _as_json(token: re.Match[str], script: str) -> str:
    text = token.group()
    if token["truth"]:
        return "true" if text == "!0" else "false"
    if token["number"]:
        return repr(float(text)) if re.search(r"[.eE]", text) else str(int(text))
    if token["word"] and script[token.end() : token.end() + 1] == ":":
        return json.dumps(text)
    return text


def read_model(module: bytes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Keras' model_config and the manifest of weights, out of model.min.js. Raises ValueError."""
    script = module.decode()
    document = read_literal(script, script.index("{modelTopology:"))
    config: dict[str, Any] = document["modelTopology"]["model_config"]
    return config, [spec for group in document["weightsManifest"] for spec in group["weights"]]


def read_weights(
    manifest: Sequence[Mapping[str, Any]], modules: Sequence[bytes]
) -> dict[str, Array]:
    """Float32 arrays by name, out of the modules of all shards. Raises ValueError."""
    import numpy as np

    data = b"".join(_shard(module) for module in modules)
    arrays, at = {}, 0
    for spec in manifest:
        quantised = spec.get("quantization")
        kind = np.dtype(_STORED[quantised["dtype"] if quantised else None])
        count = int(np.prod(spec["shape"]))
        stored = np.frombuffer(data, kind, count, at)
        at += count * kind.itemsize
        if quantised:
            stored = stored * np.float64(quantised["scale"]) + quantised["min"]
        arrays[spec["name"]] = stored.astype(np.float32).reshape(spec["shape"])
    if at != len(data):
        raise ValueError(f"{len(data):,} bytes of weights, expected {at:,}")
    return arrays


def _shard(module: bytes) -> bytes:
    found = re.search(rb'\.exports="([A-Za-z0-9+/=]*)"', module)
    if found is None:
        raise ValueError("a shard holds no base64")
    return base64.b64decode(found[1], validate=True)
