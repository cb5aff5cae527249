"""A network that Keras 2 wrote down (its topology as JSON, arrays by name), run by torch.

Of a layer only what is written below is done, and nothing in a file is executed: a topology with
a layer or an option that is not known here is refused. Pictures are (n, 3, h, w) inside.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from coyo_tools.pieces.scores.precision import arithmetic

Layer = Callable[..., Any]  # tensors to a tensor


class KerasNetwork:
    """A functional model with one input and one output.

    config: its `model_config`. arrays: float32, by LAYER/NAME. Raises ValueError where a layer is
    not known or an array is absent.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        arrays: Mapping[str, Any],
        device: str = "cpu",
        precision: str = "fp32",
    ) -> None:
        import torch

        if config.get("class_name") not in ("Model", "Functional"):
            raise ValueError(f"it is a {config.get('class_name')}, not one functional model")
        inner = config["config"]
        self._tensors = {n: torch.from_numpy(a).to(device) for n, a in arrays.items()}
        self._device, self._precision = device, precision
        (self._input,), (self._output,) = (
            [name for name, *_ in inner[end]] for end in ("input_layers", "output_layers")
        )
        self._steps = [self._step(layer) for layer in inner["layers"]]
        self.side = input_side(config)

    def _step(self, layer: Mapping[str, Any]) -> tuple[str, list[str], Layer]:
        name, kind = layer["name"], layer["class_name"]
        if kind not in _LAYERS:
            raise ValueError(f"its layer {name} is a {kind}, which is not known here")
        if layer["config"].get("data_format", "channels_last") != "channels_last":
            raise ValueError(f"its layer {name} is not channels_last")
        nodes = layer["inbound_nodes"]
        if len(nodes) > 1:
            raise ValueError(f"its layer {name} is used {len(nodes)} times")
        sources = [source for node in nodes for source, *_ in node]
        start = f"{name}/"
        own = {n.removeprefix(start): t for n, t in self._tensors.items() if n.startswith(start)}
        try:
            return name, sources, _LAYERS[kind](layer["config"], own)
        except KeyError as error:
            raise ValueError(f"its layer {name} lacks {error.args[0]}") from error

    def __call__(self, pictures: Any) -> Any:
        """Float32 (n, side, side, 3), a numpy array, to float32 (n, classes)."""
        import torch

        with torch.inference_mode(), arithmetic(self._device, self._precision):
            start = torch.from_numpy(pictures).to(self._device).permute(0, 3, 1, 2)
            values = {self._input: start.contiguous(memory_format=torch.channels_last)}
            last = {source: name for name, sources, _ in self._steps for source in sources}
            for name, sources, layer in self._steps:
                if name != self._input:
                    values[name] = layer(*(values[source] for source in sources))
                for source in {source for source in sources if last[source] == name}:
                    del values[source]  # nobody needs it any more
            return values[self._output].float().cpu().numpy()


def input_side(config: Mapping[str, Any]) -> int:
    """Of the pictures that the model sees, px. Raises ValueError where they are not square."""
    inner = config["config"]
    ((name, *_),) = inner["input_layers"]
    first = next(each for each in inner["layers"] if each["name"] == name)
    shape = first["config"]["batch_input_shape"]
    if len(shape) != 4 or shape[1] != shape[2] or shape[3] != 3:
        raise ValueError(f"its input is {shape}, not square pictures")
    return int(shape[1])


def read_h5(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The topology and the arrays of a model that Keras 2 saved as one HDF5 file.

    Raises ValueError where it holds weights alone; h5py's errors on a broken file.
    """
    import h5py
    import numpy as np

    with h5py.File(path) as file:
        if "model_config" not in file.attrs:
            raise ValueError("it holds no topology: a file of weights alone")
        groups = file["model_weights"]
        arrays = {
            f"{layer}/{weight.rpartition('/')[2].removesuffix(':0')}": np.asarray(
                group[weight], np.float32
            )
            for layer, group in groups.items()
            for weight in map(_text, group.attrs["weight_names"])
        }
        config: dict[str, Any] = json.loads(file.attrs["model_config"])
    return config, arrays


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _activation(name: str | None) -> Layer:
    import torch

    known: dict[str | None, Layer] = {
        None: lambda x: x,
        "linear": lambda x: x,
        "relu": torch.relu,
        "softmax": lambda x: torch.softmax(x, 1),
    }
    if name not in known:
        raise ValueError(f"the activation {name} is not known here")
    return known[name]


def _input(_: Mapping[str, Any], __: Mapping[str, Any]) -> Layer:
    return lambda x: x


def _pad(config: Mapping[str, Any], _: Mapping[str, Any]) -> Layer:
    import torch

    (top, bottom), (left, right) = config["padding"]
    return lambda x: torch.nn.functional.pad(x, (left, right, top, bottom))


def _same(x: Any, size: Sequence[int], strides: Sequence[int]) -> tuple[int, int, int, int]:
    """TensorFlow's "same": left, right, top, bottom; the odd pixel goes to the right or bottom."""
    ends = []
    for length, window, stride in zip(x.shape[:1:-1], size[::-1], strides[::-1], strict=True):
        total = max((-(-length // stride) - 1) * stride + window - length, 0)
        ends += [total // 2, total - total // 2]
    return ends[0], ends[1], ends[2], ends[3]


def _convolution(config: Mapping[str, Any], own: Mapping[str, Any]) -> Layer:
    depthwise = "depthwise_kernel" in own
    kernel = own["depthwise_kernel" if depthwise else "kernel"]
    if depthwise:
        kernel = kernel.reshape(*kernel.shape[:2], 1, -1)
    groups = kernel.shape[3] // (config.get("depth_multiplier") or 1) if depthwise else 1
    import torch

    weight = kernel.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
    bias = own["bias"] if config["use_bias"] else None
    size, strides = config["kernel_size"], config["strides"]
    dilation, activation = config.get("dilation_rate", [1, 1]), _activation(config["activation"])
    same = _is_same(config)
    reach = [(length - 1) * spread + 1 for length, spread in zip(size, dilation, strict=True)]

    def layer(x: Any) -> Any:
        if same:
            x = torch.nn.functional.pad(x, _same(x, reach, strides))
        found = torch.nn.functional.conv2d(
            x, weight, bias, tuple(strides), 0, tuple(dilation), groups
        )
        return activation(found)

    return layer


def _is_same(config: Mapping[str, Any]) -> bool:
    if config["padding"] not in ("same", "valid"):
        raise ValueError(f"the padding {config['padding']} is not known here")
    return bool(config["padding"] == "same")


def _normalisation(config: Mapping[str, Any], own: Mapping[str, Any]) -> Layer:
    import torch

    mean, variance = own["moving_mean"], own["moving_variance"]
    gamma = own["gamma"] if config["scale"] else None
    beta = own["beta"] if config["center"] else None
    epsilon = config["epsilon"]
    return lambda x: torch.nn.functional.batch_norm(
        x, mean, variance, gamma, beta, training=False, eps=epsilon
    )


def _relu(config: Mapping[str, Any], _: Mapping[str, Any]) -> Layer:
    import torch

    if config.get("negative_slope") or config.get("threshold"):
        raise ValueError("a leaky or thresholded ReLU is not known here")
    return lambda x: torch.clamp(x, 0, config.get("max_value"))


def _pool(config: Mapping[str, Any], largest: bool) -> Layer:
    import torch

    size, strides, same = config["pool_size"], config["strides"], _is_same(config)
    functional = torch.nn.functional

    def layer(x: Any) -> Any:
        ends = _same(x, size, strides) if same else (0, 0, 0, 0)
        if largest:
            padded = functional.pad(x, ends, value=float("-inf"))
            return functional.max_pool2d(padded, tuple(size), tuple(strides))
        found = functional.avg_pool2d(functional.pad(x, ends), tuple(size), tuple(strides))
        if not any(ends):
            return found
        inside = functional.pad(torch.ones_like(x[:1, :1]), ends)
        return found / functional.avg_pool2d(inside, tuple(size), tuple(strides))

    return layer


def _flatten(_: Mapping[str, Any], __: Mapping[str, Any]) -> Layer:
    return lambda x: x.permute(0, 2, 3, 1).flatten(1) if x.ndim == 4 else x.flatten(1)


def _dense(config: Mapping[str, Any], own: Mapping[str, Any]) -> Layer:
    kernel, bias = own["kernel"], own["bias"] if config["use_bias"] else 0
    activation = _activation(config["activation"])
    return lambda x: activation(x @ kernel + bias)


def _concatenate(config: Mapping[str, Any], _: Mapping[str, Any]) -> Layer:
    import torch

    if config["axis"] not in (-1, 3):
        raise ValueError(f"joining axis {config['axis']} is not known here")
    return lambda *found: torch.cat(found, 1)


_LAYERS: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any]], Layer]] = {
    "InputLayer": _input,
    "Dropout": _input,
    "ZeroPadding2D": _pad,
    "Conv2D": _convolution,
    "DepthwiseConv2D": _convolution,
    "BatchNormalization": _normalisation,
    "Activation": lambda config, _: _activation(config["activation"]),
    "ReLU": _relu,
    "MaxPooling2D": lambda config, _: _pool(config, largest=True),
    "AveragePooling2D": lambda config, _: _pool(config, largest=False),
    "GlobalAveragePooling2D": lambda _, __: lambda x: x.mean((2, 3)),
    "Flatten": _flatten,
    "Dense": _dense,
    "Add": lambda _, __: lambda *found: sum(found[1:], found[0]),
    "Concatenate": _concatenate,
}
