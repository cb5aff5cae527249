"""What the benchmarks of `score` share: shards of photographs, random weights, open_clip's way."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harness import OUT

PER_SHARD = 48
SEED = 20
COLUMN = "clip_similarity_vitb32"
WORDS = (
    "a",
    "the",
    "old",
    "red",
    "dog",
    "boat",
    "house",
    "by",
    "in",
    "photograph",
    "vintage",
    "two",
)


def weights(architecture: str = "ViT-B-32") -> Path:
    """Random ones of a CLIP with QuickGELU, in half precision as OpenAI's own are; made once."""
    path = OUT / f"{architecture.replace('-', '').lower()}-random.safetensors"
    if path.exists():
        return path
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(SEED)
    model = open_clip.CLIP(**open_clip.get_model_config(architecture), quick_gelu=True)
    OUT.mkdir(parents=True, exist_ok=True)
    making = path.with_suffix(".making")
    save_file({name: t.half().contiguous() for name, t in model.state_dict().items()}, making)
    return making.rename(path)


def shards(side: int, count: int) -> Path:
    """A folder of shards of photographs, made once."""
    folder = OUT / f"score-{side}px-{count}"
    if folder.exists():
        return folder
    import numpy as np

    rng = np.random.default_rng(SEED)
    making = folder.with_suffix(".making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    sources = photographs()
    for start in range(0, count, PER_SHARD):
        with tarfile.open(making / f"{start // PER_SHARD:05d}.tar", "w") as tar:
            for number in range(start, min(count, start + PER_SHARD)):
                add(tar, f"{number:016d}.jpg", one_picture(sources, number, side, rng))
                words = max(3, round(float(rng.lognormal(2.3, 0.5))))
                add(tar, f"{number:016d}.txt", " ".join(rng.choice(WORDS, words)).encode())
    making.rename(folder)
    return folder


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def photographs() -> list[Any]:
    from bench_download import photographs as found

    return found()


def one_picture(sources: Sequence[Any], number: int, side: int, rng: Any) -> bytes:
    """A crop of a photograph, scaled to the longer side, with the grain of a sensor."""
    import numpy as np
    from PIL import Image

    source = sources[number % len(sources)]
    width, height = source.size
    w, h = (int(n * rng.uniform(0.75, 1.0)) for n in source.size)
    x, y = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
    factor = side / max(w, h)
    size = max(200, round(w * factor)), max(200, round(h * factor))
    image = source.crop((x, y, x + w, y + h)).resize(size, Image.Resampling.LANCZOS)
    grain = rng.normal(0, 2.0, (size[1], size[0], 1))
    pixels = np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def samples(shard: Path) -> Iterator[tuple[bytes, str]]:
    """Picture and caption of each sample of a tar."""
    with tarfile.open(shard) as tar:
        for member in tar:
            data = tar.extractfile(member).read()  # type: ignore[union-attr]
            if member.name.endswith(".jpg"):
                picture = data
            else:
                yield picture, data.decode()


def repeated(source: Path, folder: Path, count: int, rows: int) -> Path:
    """So many shards of so many rows, of the source's samples again and again; made once."""
    if folder.exists():
        return folder
    pairs = [pair for shard in sorted(source.glob("*.tar")) for pair in samples(shard)]
    making = folder.with_suffix(".making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    for index in range(count):
        with tarfile.open(making / f"{index:05d}.tar", "w") as tar:
            for number in range(index * rows, (index + 1) * rows):
                picture, caption = pairs[number % len(pairs)]
                add(tar, f"{number:016d}.jpg", picture)
                add(tar, f"{number:016d}.txt", caption.encode())
    return making.rename(folder)


def open_clip_model(
    device: str, architecture: str = "ViT-B-32", precision: str = "fp32"
) -> tuple[Any, Callable[[Any], Any], Callable[[Any], Any]]:
    import open_clip

    model, _, preprocess = open_clip.create_model_and_transforms(
        architecture,
        pretrained=str(weights(architecture)),
        force_quick_gelu=True,
        precision=precision,
        device=device,
    )
    return model.eval(), preprocess, open_clip.get_tokenizer(architecture)


def similarities(model: Any, images: Any, tokens: Any, device: str) -> list[float]:
    import torch

    dtype = model.visual.conv1.weight.dtype
    with torch.inference_mode():
        images = images.to(device, non_blocking=True).to(dtype)
        image = model.encode_image(images, normalize=True)
        text = model.encode_text(tokens.to(device, non_blocking=True), normalize=True)
        return (image * text).sum(-1).tolist()  # type: ignore[no-any-return]


def run_engine(found: Sequence[Any], panel: Any, crew: Any, decoders: Any) -> list[Any]:
    """The shards through the engine of `coyo score`: a table each."""
    from coyo_tools.stages.score_table import Gathered, Prepared
    from coyo_tools.stages.shard_stream import ShardStream, prepared

    tables: list[Any] = []
    for item in prepared(ShardStream(iter(found)), panel, crew, decoders):
        if isinstance(item, Prepared):
            tables[-1].add(item)
            continue
        if tables:
            tables[-1].end()
        tables.append(Gathered(panel, crew))
    tables[-1].end()
    return [table.table() for table in tables]


def cores() -> int:
    return len(os.sched_getaffinity(0))
