"""TensorFlow.js models inside JavaScript modules: literals, and weights from base64."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coyo_tools.pieces.scores.tfjs import read_literal, read_model, read_weights

KEYS = st.from_regex(r"[a-z_$][a-z0-9_$]{0,6}", fullmatch=True)
LITERALS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


def minified(value: Any) -> str:
    """As a minifier writes it."""
    if isinstance(value, bool):
        return "!0" if value else "!1"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{minified(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(minified, value)) + "]"
    if isinstance(value, float):
        return re.sub(r"^(-?)0\.(?=\d)", r"\1.", repr(value))
    return json.dumps(value)


@given(st.dictionaries(KEYS, LITERALS, max_size=4))
def test_a_minified_literal_is_read_as_it_was(value: dict[str, Any]) -> None:
    script = f"a.exports={minified(value)}}},{{}}]}}"
    assert read_literal(script, len("a.exports=")) == value


@pytest.mark.parametrize("script", ["{a:1", "{a:f()}", "{a:'b'}", "{a:}", ""])
def test_anything_but_a_literal_is_refused(script: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_literal(script, 0)


def test_weights_are_dequantised() -> None:
    numbers = np.array([0, 1, 255], np.uint8)
    floats = np.array([[0.5, -2.25]], np.float32)
    wide = np.array([0, 65535], np.uint16)
    whole = numbers.tobytes() + floats.tobytes() + wide.tobytes()
    shards = [b'x.exports="' + base64.b64encode(part) + b'"},' for part in (whole[:5], whole[5:])]
    script = (
        'n.exports={modelTopology:{model_config:{class_name:"Model"}},weightsManifest:[{weights:['
        '{name:"a/b",shape:[3],dtype:"float32",quantization:{min:-.5,scale:.25,dtype:"uint8"}},'
        '{name:"c",shape:[1,2],dtype:"float32"},'
        '{name:"d",shape:[2],dtype:"float32",quantization:{min:0,scale:1e-3,dtype:"uint16"}}]}]}'
    )
    config, manifest = read_model(script.encode())
    assert config == {"class_name": "Model"}
    found = read_weights(manifest, shards)
    assert found["a/b"].tolist() == [-0.5, -0.25, 63.25]
    assert found["c"].tolist() == [[0.5, -2.25]]
    assert found["d"].tolist() == [0, np.float32(65.535)]
    assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}
    with pytest.raises(ValueError, match="bytes of weights, expected"):
        read_weights(manifest[:1], shards)
    with pytest.raises(ValueError, match="buffer"):
        read_weights(manifest, shards[:1])
    with pytest.raises(ValueError, match="no base64"):
        read_weights(manifest, [b"nothing"])
