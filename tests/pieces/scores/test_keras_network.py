"""Keras topologies run by torch, beside Keras itself on the same arrays."""

from __future__ import annotations

import copy
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coyo_tools.pieces.scores.keras_network import KerasNetwork, read_h5

torch = pytest.importorskip("torch", reason="needs the score extra")
h5py = pytest.importorskip("h5py", reason="needs the score extra")

Arrays = dict[str, np.ndarray[Any, Any]]


def layer(kind: str, name: str, sources: list[str], **config: Any) -> dict[str, Any]:
    """A layer as Keras 2 writes it."""
    nodes = [[[source, 0, 0, {}] for source in sources]] if sources else []
    return {
        "class_name": kind,
        "name": name,
        "config": {"name": name, "trainable": True, **config},
        "inbound_nodes": nodes,
    }


def convolution(name: str, source: str, kind: str = "Conv2D", **config: Any) -> dict[str, Any]:
    usual = {
        "kernel_size": [3, 3],
        "strides": [1, 1],
        "padding": "same",
        "data_format": "channels_last",
        "dilation_rate": [1, 1],
        "activation": "linear",
        "use_bias": True,
    }
    return layer(kind, name, [source], **usual | config)


def pool(kind: str, name: str, source: str, **config: Any) -> dict[str, Any]:
    usual = {"pool_size": [3, 3], "strides": [2, 2], "padding": "same"}
    return layer(kind, name, [source], data_format="channels_last", **usual | config)


def model(side: int) -> tuple[dict[str, Any], Arrays]:
    """Every kind of layer, and every padding, on small odd pictures; and random arrays."""
    normal = {"axis": [3], "momentum": 0.9, "epsilon": 1e-3, "center": True}
    shape = [None, side, side, 3]
    layers = [
        layer("InputLayer", "in", [], batch_input_shape=shape, dtype="float32", sparse=False),
        layer(
            "ZeroPadding2D", "pad", ["in"], padding=[[0, 1], [2, 1]], data_format="channels_last"
        ),
        convolution("first", "pad", filters=4, strides=[2, 2], padding="valid", use_bias=False),
        layer("BatchNormalization", "norm", ["first"], scale=True, **normal),
        layer("ReLU", "six", ["norm"], max_value=6.0),
        convolution("each", "six", "DepthwiseConv2D", strides=[2, 2], depth_multiplier=1),
        layer("BatchNormalization", "norm2", ["each"], scale=False, **normal),
        layer("Activation", "relu", ["norm2"], activation="relu"),
        convolution("wide", "relu", filters=4, kernel_size=[1, 5], dilation_rate=[1, 2]),
        convolution("even", "relu", filters=4, kernel_size=[2, 4], activation="relu"),
        layer("Add", "sum", ["wide", "relu"]),
        pool("AveragePooling2D", "mean", "sum", strides=[1, 1]),
        pool("MaxPooling2D", "most", "even", pool_size=[2, 2], strides=[1, 1]),
        layer("Concatenate", "both", ["mean", "most"], axis=3),
        pool("AveragePooling2D", "mean2", "both", strides=[1, 1], padding="valid"),
        pool("MaxPooling2D", "most2", "mean2"),
        layer("Dropout", "drop", ["most2"], rate=0.5, noise_shape=None, seed=None),
        layer("Flatten", "flat", ["drop"], data_format="channels_last"),
        layer("Dense", "hidden", ["flat"], units=7, activation="relu", use_bias=False),
        layer("Dense", "out", ["hidden"], units=5, activation="softmax", use_bias=True),
    ]
    ends = {"input_layers": [["in", 0, 0]], "output_layers": [["out", 0, 0]]}
    config = {"class_name": "Model", "config": {"name": "m", "layers": layers, **ends}}
    shapes = {
        "first/kernel": (3, 3, 3, 4),
        **{f"norm/{n}": (4,) for n in ("gamma", "beta", "moving_mean", "moving_variance")},
        "each/depthwise_kernel": (3, 3, 4, 1),
        "each/bias": (4,),
        **{f"norm2/{n}": (4,) for n in ("beta", "moving_mean", "moving_variance")},
        "wide/kernel": (1, 5, 4, 4),
        "wide/bias": (4,),
        "even/kernel": (2, 4, 4, 4),
        "even/bias": (4,),
        "hidden/kernel": (8 * left(side, 1) * left(side, 3), 7),
        "out/kernel": (7, 5),
        "out/bias": (5,),
    }
    random = np.random.default_rng(side)
    arrays = {
        name: random.uniform(*_range(name), size).astype(np.float32)
        for name, size in shapes.items()
    }
    return config, arrays


def _range(name: str) -> tuple[float, float]:
    if name.startswith(("hidden", "out")):
        return -0.1, 0.1  # so that no class is certain
    return (0.1, 1) if "variance" in name else (-1, 1)


def left(side: int, padding: int) -> int:
    """How many pixels of a side the last layer of pictures has."""
    first = (side + padding - 3) // 2 + 1
    return math.ceil((math.ceil(first / 2) - 2) / 2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras' own, about numpy 2
@pytest.mark.filterwarnings("ignore:The structure of `inputs`:UserWarning")
@pytest.mark.parametrize("side", [23, 31, 33])
def test_equal_to_keras(side: int) -> None:
    config, arrays = model(side)
    pictures = np.random.default_rng(1).random((3, side, side, 3), np.float32)
    found = KerasNetwork(config, arrays)(pictures)
    assert np.abs(found - by_keras(config, arrays, pictures)).max() < 1e-6
    assert found.std(0).min() > 1e-5  # the pictures differ in every class


def test_an_average_leaves_out_what_lies_outside() -> None:
    """As TensorFlow does, also where more is added at one end; Keras on torch repeats the edge."""
    layers = [
        layer("InputLayer", "in", [], batch_input_shape=[None, 6, 6, 3]),
        pool("AveragePooling2D", "mean", "in"),
        layer("Flatten", "out", ["mean"]),
    ]
    ends = {"input_layers": [["in", 0, 0]], "output_layers": [["out", 0, 0]]}
    network = KerasNetwork({"class_name": "Model", "config": {"layers": layers, **ends}}, {})
    picture = np.random.default_rng(0).random((6, 6, 3), np.float32)
    # Windows of 3 px start at 0, 2 and 4; the last one has 2 px inside.
    expected = [picture[y : y + 3, x : x + 3].mean((0, 1)) for y in (0, 2, 4) for x in (0, 2, 4)]
    assert np.abs(network(picture[None]) - np.concatenate(expected)).max() < 1e-6


def by_keras(config: dict[str, Any], arrays: Arrays, pictures: Any) -> Any:
    """What Keras makes of it."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    os.environ.setdefault("KERAS_TORCH_DEVICE", "cpu")
    pytest.importorskip("keras", reason="needs the score extra")
    from keras.src.legacy.saving import saving_utils

    built = saving_utils.model_from_config(copy.deepcopy(config))
    for each in built.layers:
        if each.weights:
            # Keras 3 calls a depthwise kernel a kernel.
            own = {n.replace("/depthwise_kernel", "/kernel"): array for n, array in arrays.items()}
            each.set_weights([own[f"{each.name}/{weight.name}"] for weight in each.weights])
    with torch.inference_mode():
        return built(pictures).cpu().numpy()


def write_h5(path: Path, config: dict[str, Any], arrays: Arrays) -> Path:
    """A model as Keras 2 saves it."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config).encode()
        group = file.create_group("model_weights")
        for each in config["config"]["layers"]:
            own = group.create_group(each["name"])
            names = [name for name in arrays if name.startswith(f"{each['name']}/")]
            own.attrs["weight_names"] = [f"{name}:0".encode() for name in names]
            for name in names:
                own[f"{name}:0"] = arrays[name]
    return path


def test_a_file_of_keras_2_is_read(tmp_path: Path) -> None:
    config, arrays = model(23)
    found, read = read_h5(write_h5(tmp_path / "model.h5", config, arrays))
    assert found == config
    assert set(read) == set(arrays)
    assert all(np.array_equal(read[name], arrays[name]) for name in arrays)


def test_weights_alone_are_not_enough(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["a"] = np.zeros(3)
    with pytest.raises(ValueError, match="holds no topology"):
        read_h5(tmp_path / "weights.h5")


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("relu", {"class_name": "Lambda"}, "its layer relu is a Lambda, which is not known here"),
        ("relu", {"config": {"activation": "elu"}}, "the activation elu"),
        ("six", {"config": {"max_value": 6.0, "negative_slope": 0.1}}, "leaky"),
        ("both", {"config": {"axis": 1}}, "joining axis 1"),
        ("flat", {"config": {"data_format": "channels_first"}}, "flat is not channels_last"),
        ("most", {"config": {"pool_size": [2], "strides": [2], "padding": "?"}}, "padding ?"),
        (
            "drop",
            {"inbound_nodes": [[["mean", 0, 0, {}]], [["most", 0, 0, {}]]]},
            "used 2 times",
        ),
        ("in", {"config": {"batch_input_shape": [None, 9, 8, 3]}}, "not square pictures"),
    ],
)
def test_what_is_not_known_is_refused(name: str, change: dict[str, Any], said: str) -> None:
    config, arrays = model(23)
    each = next(e for e in config["config"]["layers"] if e["name"] == name)
    each.update(change)
    with pytest.raises(ValueError, match=said.replace("?", r"\?")):
        KerasNetwork(config, arrays)


def test_other_models_and_missing_arrays_are_refused() -> None:
    config, arrays = model(23)
    with pytest.raises(ValueError, match="it is a Sequential"):
        KerasNetwork({"class_name": "Sequential", "config": []}, {})
    del arrays["norm/beta"]
    with pytest.raises(ValueError, match="its layer norm lacks beta"):
        KerasNetwork(config, arrays)
