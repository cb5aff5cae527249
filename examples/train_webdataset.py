"""Train a few steps from the shards with webdataset and torch.

Shows: `coyo download` writes plain WebDataset shards (KEY.jpg, KEY.txt, KEY.json), so that any
reader of those takes them as they are; the caption and every metadata column come with the picture.
The model is a toy that says how much a caption's bytes and a picture's pixels agree; it is not
meant to learn anything in a few steps.

    python examples/train_webdataset.py [SHARDS] [--steps N]
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset as wds
from PIL import Image
from torch import nn

SIDE_PX = 64
CAPTION_BYTES = 64


def picture(image: Image.Image) -> torch.Tensor:
    """float32 (3, SIDE_PX, SIDE_PX), 0 to 1."""
    small = image.convert("RGB").resize((SIDE_PX, SIDE_PX))
    return torch.from_numpy(np.array(small)).permute(2, 0, 1).float() / 255


def caption(text: str) -> torch.Tensor:
    """int64 (CAPTION_BYTES,): the caption's UTF-8 bytes, cut or padded with zeros."""
    data = text.encode()[:CAPTION_BYTES]
    return torch.tensor(list(data.ljust(CAPTION_BYTES, b"\0")))


def batches(shards: Path, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor, list[Any]]]:
    """Pictures, captions and metadata, over and over, in another order each time."""
    urls = sorted(str(path) for path in shards.glob("*.tar"))
    if not urls:
        raise SystemExit(f"{shards} holds no tar shards; run: coyo demo")
    order = random.Random(0)
    order.shuffle(urls)
    data = (
        wds.WebDataset(urls, shardshuffle=False)
        .shuffle(100, rng=order)
        .decode("pil")
        .to_tuple("jpg;png;webp", "txt", "json")
        .map_tuple(picture, caption)
        .batched(size, partial=False)
        .repeat()
    )
    yield from data


class Twins(nn.Module):
    """Two small towers into one space."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.image = nn.Sequential(
            nn.Conv2d(3, 16, 5, stride=4),
            nn.GELU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(256, width),
        )
        self.text = nn.Sequential(nn.EmbeddingBag(256, 64), nn.Linear(64, width))

    def forward(self, images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        """Cosine of each picture with each caption, times 10. (n, n)."""
        a = nn.functional.normalize(self.image(images), dim=-1)
        b = nn.functional.normalize(self.text(texts), dim=-1)
        return 10 * a @ b.T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("shards", nargs="?", type=Path, default=Path("coyo-demo/shards"))
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=8)
    args = parser.parse_args()
    torch.manual_seed(0)
    model = Twins()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step, (images, texts, metadata) in enumerate(batches(args.shards, args.batch_size), 1):
        logits = model(images, texts)
        target = torch.arange(len(logits))
        cross = nn.functional.cross_entropy
        loss = (cross(logits, target) + cross(logits.T, target)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first = metadata[0]
        print(
            f"step {step}: loss {loss.item():.3f}  first: {first['id']} {first['caption'][:40]!r}"
        )
        if step == args.steps:
            break


if __name__ == "__main__":
    main()
