"""Shards are read, unchanged, by the readers people train with."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from coyo_tools.verbs.download import download
from coyo_tools.words.config import DownloadSettings
from tests.servers.pictures import PictureServer
from tests.tables import coyo_table, write_parts

# The readers and what they import warn of many things that are theirs to mend.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
ROWS, SUCCESSES = 2_000, 1_720


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("readers")
    with PictureServer() as server:
        source = write_parts(root / "in", coyo_table(server.urls(ROWS)), parts=1)
        settings = DownloadSettings(
            image_size=64, samples_per_shard=500, processes=1, allow_private_addresses=True
        )
        result = download(source, root / "shards", settings)
    assert (result.successes, result.shards) == (SUCCESSES, 4)
    return root / "shards"


def test_webdataset(shards):
    wds = pytest.importorskip("webdataset", reason="the datasets extra is not installed")
    urls = str(shards / "{00000..00003}.tar")
    dataset = wds.WebDataset(urls, shardshuffle=False).decode("pil").to_tuple("jpg", "txt", "json")
    samples = list(dataset)
    assert len(samples) == SUCCESSES
    for image, caption, record in samples:
        assert image.size == (record["width"], record["height"])
        assert caption == record["caption"]


def test_datasets(shards, tmp_path):
    datasets = pytest.importorskip("datasets", reason="the datasets extra is not installed")
    files = sorted(str(path) for path in shards.glob("*.tar"))
    loaded = datasets.load_dataset(
        "webdataset", data_files={"train": files}, split="train", cache_dir=str(tmp_path)
    )
    assert loaded.num_rows == SUCCESSES
    first = loaded[0]
    assert first["__key__"] == first["json"]["key"] == f"{first['json']['id']:016d}"
    assert first["txt"] == first["json"]["caption"]
    assert first["jpg"].size == (85, 64)


def test_datasets_streaming(shards):
    datasets = pytest.importorskip("datasets", reason="the datasets extra is not installed")
    files = sorted(str(path) for path in shards.glob("*.tar"))
    loaded = datasets.load_dataset("webdataset", data_files=files, split="train", streaming=True)
    assert sum(1 for _ in loaded) == SUCCESSES


def test_open_clip_trains_a_step(shards):
    """open_clip's own reader, nothing about it changed, and one step of a tiny model."""
    torch = pytest.importorskip("torch", reason="the score extra is not installed")
    open_clip = pytest.importorskip("open_clip", reason="the score extra is not installed")
    data = pytest.importorskip("open_clip_train.data", reason="the score extra is not installed")
    arguments = argparse.Namespace(
        train_data=str(shards / "{00000..00003}.tar"),
        train_num_samples=SUCCESSES,
        train_data_upsampling_factors=None,
        dataset_resampled=False,
        seed=0,
        workers=1,
        batch_size=16,
        world_size=1,
        distributed=False,
    )
    torch.manual_seed(0)
    model = open_clip.CLIP(
        embed_dim=16,
        vision_cfg={"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16},
        text_cfg={"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 1, "layers": 1},
    )
    preprocess = open_clip.image_transform(32, is_train=True)
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    info = data.get_wds_dataset(arguments, preprocess, is_train=True, tokenizer=tokenizer)
    images, texts = next(iter(info.dataloader))
    assert tuple(images.shape) == (16, 3, 32, 32)
    assert tuple(texts.shape) == (16, 77)
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    image_features, text_features, scale = model(images, texts)[:3]
    loss = open_clip.ClipLoss()(image_features, text_features, scale)
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    assert any(not torch.equal(before[name], value) for name, value in model.named_parameters())
