"""coyo score beside a GPU: what its engine does of what the model and decoding allow.

    python benchmarks/bench_gpu.py [--device cuda] [--side 400] [--models ViT-B-32,ViT-L-14]
        [--rows 40960] [--per-shard 1280] [--seconds 8]

CLIP with random weights (the arithmetic is the same) over shards of JPEG photographs with captions
as long as COYO's, 480 different ones again and again. In one process, after start-up,
for each model and precision:

- open_clip: its own loop, a torch DataLoader with a worker a core and pinned memory before
  encode_image and encode_text, batches of 256
- model alone: coyo's batches, made ready before; beside it open_clip's encode_image and
  encode_text of the same batch, already in the GPU's memory
- decoding alone: coyo's processes without the model
- engine: everything `coyo score` does but starting and writing; its share of the smaller of the two
  before; how busy the GPU is meanwhile (nvidia-smi, mean of samples 0.2 s apart); the thread that
  reads, its CPU time in % of the wall
- what half precision moves: the mean and the largest difference of the cosines from float32

Rows are as many as fill about `--seconds`, `--rows` at most. Medians of three turns.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import score_inputs
from harness import OUT, machine, versions, write_section

from coyo_tools.machinery.fleet import _ALLOCATOR as ALLOCATOR

DIFFERENT = 480
BATCH = 256
TURNS = 3
COLUMNS = {"ViT-B-32": "clip_similarity_vitb32", "ViT-L-14": "clip_similarity_vitl14"}
HEAD = (
    "| model | precision | open_clip, DataLoader | model alone: open_clip | in coyo | decoding "
    "alone | engine | share | times the DataLoader | GPU busy, % | reading thread, % | "
    "difference: mean, largest |"
)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--device", default="cuda:0")
    options.add_argument("--side", type=int, default=400, help="longer side of the pictures, px")
    options.add_argument("--models", default=",".join(COLUMNS))
    options.add_argument("--precisions", default="fp32,fp16,bf16")
    options.add_argument("--rows", type=int, default=40_960)
    options.add_argument("--per-shard", type=int, default=1280, help="rows; batches are of 256")
    options.add_argument("--seconds", type=float, default=8.0)
    options.add_argument("--decode-in", default="processes", choices=("threads", "processes"))
    options.add_argument("--resize-on-device", action="store_true")
    options.add_argument("--pictures", type=Path, help="shards of photographs to repeat")
    options.add_argument("--no-rival", action="store_true", help="leave open_clip's loop out")
    options.add_argument("--dry-run", action="store_true", help="do not write RESULTS.md")
    asked = options.parse_args()
    if asked.device != "cpu" and not has_gpu():
        print("torch sees no GPU here: bench_gpu.py has nothing to measure")
        return
    source = asked.pictures or score_inputs.shards(asked.side, DIFFERENT)
    count = -(-asked.rows // asked.per_shard)
    folder = OUT / f"gpu-{source.name}-{count}x{asked.per_shard}"
    score_inputs.repeated(source, folder, count, asked.per_shard)
    lines = [
        f"{machine()}, {device_name(asked.device)}; "
        f"{versions('coyo-tools', 'open-clip-torch', 'torch', 'pillow')}. Random weights; JPEG "
        f"photographs of {asked.side} px in shards of {asked.per_shard}, pictures/s, medians of "
        f"{TURNS} turns after start-up; "
        f"{score_inputs.cores()} {asked.decode_in} decode"
        + (", pictures are resized on the GPU." if asked.resize_on_device else "."),
        "",
        HEAD,
        "|---|---|" + "---:|" * 10,
    ]
    for architecture in asked.models.split(","):
        lines += model(architecture, folder, asked, said=lambda line: print(line, flush=True))
    print("\n".join(lines))
    if not asked.dry_run:
        write_section(f"score: CLIP beside a GPU, {asked.side} px", "\n".join(lines))


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def device_name(device: str) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device != "cpu" else "no GPU"


def model(
    architecture: str, folder: Path, asked: argparse.Namespace, said: Callable[[str], None]
) -> list[str]:
    """The lines of one model."""
    from coyo_tools.pieces.scores import scores_of
    from coyo_tools.pieces.shard_reader import find_shards
    from coyo_tools.stages.crew import Crew
    from coyo_tools.stages.score import ScoreWork
    from coyo_tools.stages.score_table import Row

    column, device, cores = COLUMNS[architecture], asked.device, score_inputs.cores()
    path = score_inputs.weights(architecture)
    found = find_shards(folder).shards  # type: ignore[union-attr]
    work = ScoreWork(
        "",
        (column,),
        {column: str(path)},
        device=device,
        threads=cores,
        decode_in=asked.decode_in,
        resize_on_device=asked.resize_on_device,
    )
    scores = scores_of([column])
    started = time.perf_counter()
    lines, exact = [], None
    with work._decoders(scores, device) as decoders, Crew(cores, device) as crew:
        panel = work._panel(scores, (column,), device)
        pairs = [pair for shard in found[:2] for pair in score_inputs.samples(Path(shard.url))]
        rows = [Row(str(n), n, caption, picture) for n, (picture, caption) in enumerate(pairs)]

        def decode(rows: Sequence[Any]) -> list[Any]:
            if decoders is not None:
                return list(decoders.in_order(panel, rows, BATCH))
            return list(crew.in_order(panel.prepare, rows, BATCH + 2 * cores))

        ready = [each.ready[0] for each in decode(rows)]
        said(f"{architecture}: ready after {time.perf_counter() - started:.1f} s")
        many = rows * (-(-asked.rows // len(rows)))
        rate_decode = median(lambda: decode(many), len(many))
        for precision in asked.precisions.split(","):
            lane_panel = _replaced(work, precision)._panel(scores, (column,), device)
            alone, values = model_alone(lane_panel, crew, ready)
            exact = values if exact is None else exact
            plain = open_clip_alone(architecture, precision, pairs[:BATCH], device)
            wanted = int(min(alone, rate_decode) * asked.seconds)
            some = found[: max(2, min(len(found), wanted // asked.per_shard))]
            engine = measured_engine(some, lane_panel, crew, decoders, len(some) * asked.per_shard)
            loop = 0.0
            if not asked.no_rival:
                loop = data_loader(architecture, precision, some, device)
            moved = [abs(a - b) for a, b in zip(values, exact, strict=True)]
            lines.append(
                f"| {architecture} | {precision} | {loop:.0f} | {plain:.0f} | {alone:.0f} | "
                f"{rate_decode:.0f} | {engine['rate']:.0f} | "
                f"{engine['rate'] / min(alone, rate_decode):.2f} | "
                f"{engine['rate'] / loop if loop else float('nan'):.2f} | {engine['busy']:.0f} | "
                f"{engine['reading']:.0f} | {statistics.mean(moved):.2g}, {max(moved):.2g} |"
            )
            said(lines[-1] + f" batch {lane_panel.sizes.found(lane_panel.lanes)}")
    return lines


def _replaced(work: Any, precision: str) -> Any:
    from dataclasses import replace

    return replace(work, precision=precision)


def model_alone(panel: Any, crew: Any, ready: Sequence[Any]) -> tuple[float, list[float]]:
    """Pictures/s of the panel's one lane, as the crew runs it, and the cosines."""
    (lane,) = panel.lanes
    size = panel.sizes.of(lane)
    whole = [ready[at : at + size] for at in range(0, len(ready) - size + 1, size)]
    batches = [ready[at : at + size] for at in range(0, len(ready), size)]
    values = [v for batch in batches for v in lane.scorer.score(batch)[0].tolist()]

    def some(turns: int) -> None:
        for future in [crew.give(lane.scorer.score, b) for _ in range(turns) for b in whole]:
            future.result()

    some(1)
    started = time.perf_counter()
    some(2)
    turns = max(1, round(2 / (time.perf_counter() - started)))
    return median(lambda: some(turns), turns * len(whole) * size), values


def open_clip_alone(
    architecture: str, precision: str, pairs: Sequence[tuple[bytes, str]], device: str
) -> float:
    """Pictures/s of encode_image and encode_text, all their inputs on the device."""
    import torch
    from PIL import Image

    net, preprocess, tokenize = score_inputs.open_clip_model(device, architecture, precision)
    images = torch.stack([preprocess(Image.open(io.BytesIO(p))) for p, _ in pairs]).to(device)
    tokens = tokenize([caption for _, caption in pairs]).to(device)

    def some(turns: int) -> None:
        for _ in range(turns):
            score_inputs.similarities(net, images, tokens, device)

    some(2)
    started = time.perf_counter()
    some(2)
    turns = max(1, round(2 / (time.perf_counter() - started)))
    return median(lambda: some(turns), turns * len(pairs))


def measured_engine(
    found: Sequence[Any], panel: Any, crew: Any, decoders: Any, rows: int
) -> dict[str, float]:
    """rate: rows/s. busy: of the GPU, %. reading: CPU of the thread that reads, % of the wall."""
    turns = []
    for _ in range(TURNS):
        with busy() as seen:
            started, own = time.perf_counter(), time.thread_time()
            tables = score_inputs.run_engine(found, panel, crew, decoders)
            wall, own = time.perf_counter() - started, time.thread_time() - own
        assert sum(table.num_rows for table in tables) == rows
        turns.append((rows / wall, statistics.mean(seen or [0]), 100 * own / wall))
    said = zip(("rate", "busy", "reading"), zip(*turns, strict=True), strict=True)
    return {name: statistics.median(values) for name, values in said}


def data_loader(architecture: str, precision: str, found: Sequence[Any], device: str) -> float:
    """Pictures/s of open_clip's loop from its first batch to its last."""
    import torch
    from PIL import Image

    net, preprocess, tokenize = score_inputs.open_clip_model(device, architecture, precision)

    class Shards(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
        def __iter__(self) -> Iterator[tuple[Any, Any]]:
            me = torch.utils.data.get_worker_info()
            torch.set_num_threads(1)
            for shard in found[me.id :: me.num_workers]:
                for picture, caption in score_inputs.samples(Path(shard.url)):
                    image = preprocess(Image.open(io.BytesIO(picture)))
                    yield image, tokenize([caption])[0]

    workers = min(score_inputs.cores(), len(found))
    loader = torch.utils.data.DataLoader(
        Shards(), batch_size=BATCH, num_workers=workers, pin_memory=device != "cpu"
    )
    rows, started = 0, 0.0
    for images, tokens in loader:
        score_inputs.similarities(net, images, tokens, device)
        if not started:
            started = time.perf_counter()
            continue
        rows += len(tokens)
    return rows / (time.perf_counter() - started) if rows else 0.0


def median(work: Callable[[], object], pictures: int) -> float:
    """Pictures/s."""
    rates = []
    for _ in range(TURNS):
        started = time.perf_counter()
        work()
        rates.append(pictures / (time.perf_counter() - started))
    return statistics.median(rates)


@contextmanager
def busy() -> Iterator[list[int]]:
    """Asks nvidia-smi five times a second, while the block runs, how busy the GPU is (%)."""
    seen: list[int] = []
    ask = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms=200"]
    if not shutil.which(ask[0]):
        yield seen
        return
    with subprocess.Popen(ask, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        heard = threading.Thread(target=lambda: seen.extend(map(int, watching.stdout)))
        heard.start()
        try:
            yield seen
        finally:
            watching.terminate()
            heard.join()


if __name__ == "__main__":
    if not set(ALLOCATOR) <= set(os.environ):  # as the workers of `coyo score` have it
        os.execve(sys.executable, [sys.executable, *sys.argv], {**ALLOCATOR, **os.environ})
    main()
