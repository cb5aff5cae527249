"""The models of faces, GantMan and watermarks beside their own libraries: CPU of a picture.

    python benchmarks/bench_models.py [--runs 5] [--pictures 16]

The demo's photographs, decoded before. num_faces beside its network alone, which is the floor;
nsfw_score_gantman beside Keras on torch, on the same arrays; watermark_score_laion (random weights)
beside the plain timm loop. Values are compared first: a difference stops the benchmark. One
thread a side, runs interleaved, medians of CPU milliseconds a picture.
"""

from __future__ import annotations

import argparse
import copy
import io
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

for library in ("OPENBLAS", "OMP", "MKL"):  # one thread for both sides; read at import
    os.environ[f"{library}_NUM_THREADS"] = "1"
os.environ["KERAS_BACKEND"], os.environ["KERAS_TORCH_DEVICE"] = "torch", "cpu"

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import timm  # noqa: E402
import torch  # noqa: E402
from harness import Spread, machine, versions, write_section  # noqa: E402
from PIL import Image  # noqa: E402
from torchvision import transforms  # noqa: E402

from coyo_tools.pieces.demo_data import demo_pictures, picture_bytes  # noqa: E402
from coyo_tools.pieces.scores import (  # noqa: E402
    nsfw_score_gantman,
    num_faces,
    scrfd,
    tfjs,
    watermark_score_laion,
    weights_cache,
)
from coyo_tools.pieces.scores.archives import read_members  # noqa: E402
from coyo_tools.pieces.scores.base import Sample, Setup  # noqa: E402
from coyo_tools.pieces.scores.weights_files import GANTMAN, SCRFD  # noqa: E402

Images = Sequence[Image.Image]
Side = Callable[[Images], Any]
HEAD = (1536, 625, 256, 2)


def scored(scorer: Any) -> Side:
    """Our side: what `coyo score` does with decoded pictures."""
    return lambda images: scorer.score([scorer.prepare(Sample("", None, i)) for i in images])


def faces() -> tuple[Side, Side]:
    path = weights_cache.fetch(SCRFD)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = read_members(path, [num_faces.MEMBER])[num_faces.MEMBER]
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    detector = scrfd.Detector(lambda batch: session.run(None, {"input.1": batch}))
    batch = np.zeros((1, 3, scrfd.SIDE, scrfd.SIDE), np.float32)
    return scored(num_faces.Faces(detector.side, detector)), lambda images: [
        session.run(None, {"input.1": batch}) for _ in images
    ]


def gantman() -> tuple[Side, Side]:
    from keras.src.legacy.saving import saving_utils

    path = weights_cache.fetch(GANTMAN)
    scorer = nsfw_score_gantman.SCORE.load(Setup(weights=path))
    model, *shards = read_members(path, nsfw_score_gantman.MEMBERS).values()
    config, manifest = tfjs.read_model(model)
    arrays = tfjs.read_weights(manifest, shards)
    built = saving_utils.model_from_config(copy.deepcopy(config))
    for layer in built.layers:
        layer.set_weights([arrays[f"{layer.name}/{weight.name}"] for weight in layer.weights])

    def plain(images: Images) -> Any:
        pixels = [np.asarray(i.convert("RGB").resize((299, 299), 0), np.float32) for i in images]
        with torch.inference_mode():
            return built([np.stack(pixels) / 255]).cpu().numpy()

    return scored(scorer), plain


def watermark(folder: Path) -> tuple[Side, Side]:
    model = timm.create_model("efficientnet_b3", pretrained=False)
    first, second, third = (torch.nn.Linear(a, b) for a, b in pairwise(HEAD))
    relu = torch.nn.ReLU()
    model.classifier = torch.nn.Sequential(first, relu, torch.nn.Dropout(), second, relu, third)
    torch.save(model.eval().state_dict(), folder / "random.pt")
    preprocess = transforms.Compose(
        [
            transforms.Resize((256, 256)),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )

    def plain(images: Images) -> Any:
        with torch.inference_mode():
            batch = torch.stack([preprocess(image.convert("RGB")) for image in images])
            return torch.softmax(model(batch), 1)[:, 0].numpy()

    return scored(watermark_score_laion.SCORE.load(Setup(weights=folder / "random.pt"))), plain


def milliseconds(side: Side, images: Images) -> float:
    started = time.process_time()
    side(images)
    return 1000 * (time.process_time() - started) / len(images)


def row(name: str, sides: tuple[Side, Side], images: Images, runs: int) -> str:
    for side in sides:
        side(images[:2])  # warm
    pairs = [[milliseconds(side, images) for side in sides] for _ in range(runs)]
    ours, theirs = (Spread.of(each) for each in zip(*pairs, strict=True))
    ratio = Spread.of([a / b for a, b in pairs])
    return f"| {name} | {ours.text(0)} | {theirs.text(0)} | {ratio.text()} |"


def check(name: str, sides: tuple[Side, Side], images: Images, column: int) -> None:
    ours, theirs = (np.asarray(side(images[:4])) for side in sides)
    largest = np.abs(ours[column:].squeeze() - theirs.T).max()
    if largest > 1e-5:
        raise SystemExit(f"{name}: values differ by {largest}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=16)
    given = parser.parse_args()
    torch.set_num_threads(1)
    files = [picture.file for picture in demo_pictures()][: given.pictures]
    images = [Image.open(io.BytesIO(picture_bytes(file))) for file in files]
    for image in images:
        image.load()
    with tempfile.TemporaryDirectory() as folder:
        sides = {
            "num_faces, and SCRFD's network alone": faces(),
            "nsfw_score_gantman, and Keras on torch": gantman(),
            "watermark_score_laion, and the timm loop": watermark(Path(folder)),
        }
        names = list(sides)
        check(names[1], sides[names[1]], images, column=1)
        check(names[2], sides[names[2]], images, column=0)
        rows = [row(name, each, images, given.runs) for name, each in sides.items()]
    head = ["| | coyo-tools, ms | the other, ms | ratio |", "|---|---:|---:|---:|"]
    packages = versions("torch", "keras", "timm", "onnxruntime", "pillow")
    write_section(
        "models: CPU of a picture",
        "\n".join(
            [
                f"{machine()}; {packages}. One thread; CPU milliseconds a decoded picture, medians "
                f"of {given.runs} interleaved runs of {len(images)} photographs.",
                "",
                *head,
                *rows,
            ]
        ),
    )


if __name__ == "__main__":
    main()
