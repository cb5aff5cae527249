"""coyo score beside two open_clip loops, and against what decoding and the model allow.

    python benchmarks/bench_score.py [--pictures 192] [--runs 3] [--device cpu] [--sides 400,1600]
        [--decode-in auto|threads|processes]

CLIP ViT-B-32 with random weights (the arithmetic is the same) over shards of photographs, JPEG of
three sizes, with captions as long as COYO's. All sides store the cosine of picture and caption:

- open_clip loop: decode, preprocess, a batch of 32 to the model, one after the other
- open_clip DataLoader: the same with a torch DataLoader, a worker process a core
- coyo score: as it is

Rates are after start-up: a run over a shard of one batch is taken off. Then, by turns in one
process: the two parts alone, each on all cores (the model: m pictures/s, open_clip's and as coyo
runs it; decoding with preprocessing: p), what they allow when they share the cores, 1 / (1/m +
1/p), or on a GPU the smaller of the two, and coyo's engine over the same shards. Wall time on a
machine that does nothing else; in brackets a CPU second, which other processes disturb less.

With `--device cuda` also what half precision does to speed and values, and how busy the GPU is.
`--decode-in` says what decodes in coyo, alone and in its engine: on a GPU compare threads and
processes. It does not write RESULTS.md unless it is auto.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harness import OUT, Figures, compare, machine, run_once, versions, write_section

PER_SHARD = 48
STARTUP_PICTURES = 8
PARTS_PICTURES = 96
BATCH = 32  # of the loops
SEED = 20
WEIGHTS = OUT / "vitb32-random.safetensors"
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


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--pictures", type=int, default=192)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--device", default="cpu")
    options.add_argument("--decode-in", default="auto", choices=("auto", "threads", "processes"))
    options.add_argument("--sides", default="400,800,1600", help="longer sides, px")
    options.add_argument("--dry-run", action="store_true", help="do not write RESULTS.md")
    options.add_argument("--side", help="run one side, as the benchmark starts it")
    options.add_argument("--input", type=Path)
    options.add_argument("--out", type=Path)
    asked = options.parse_args()
    if asked.side:
        SIDES[asked.side](asked)
        return
    make_weights()
    lines = [
        f"{machine()}; {versions('coyo-tools', 'open-clip-torch', 'torch', 'pillow')}. ViT-B-32, "
        f"random weights, fp32, device {asked.device}; {asked.pictures} JPEG photographs a size, "
        f"medians of {asked.runs} interleaved runs, start-up taken off. In brackets: a CPU second.",
        "",
        "| longer side | open_clip loop, pictures/s | open_clip DataLoader | coyo score | times "
        "the DataLoader | model alone: open_clip | model in coyo | decoding alone | the two allow "
        "| coyo's engine | share |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [measure(int(side), asked) for side in asked.sides.split(",")]
    if asked.device != "cpu":
        lines += ["", *half_precision(int(asked.sides.split(",")[0]), asked)]
    print("\n".join(lines))
    if not asked.dry_run and asked.decode_in == "auto":
        title = "score: CLIP pictures a second" + ("" if asked.device == "cpu" else ", GPU")
        write_section(title, "\n".join(lines))


# Inputs


def make_weights() -> None:
    """ViT-B-32 with QuickGELU, in half precision as OpenAI's own file is; made once."""
    if WEIGHTS.exists():
        return
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(SEED)
    model = open_clip.CLIP(**open_clip.get_model_config("ViT-B-32"), quick_gelu=True)
    WEIGHTS.parent.mkdir(parents=True, exist_ok=True)
    making = WEIGHTS.with_suffix(".making")
    save_file({name: t.half().contiguous() for name, t in model.state_dict().items()}, making)
    making.rename(WEIGHTS)


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


# The sides, each a process of its own


def open_clip_model(device: str) -> tuple[Any, Callable[[Any], Any], Callable[[Any], Any]]:
    import open_clip

    model, _, preprocess = open_clip.create_model_and_transforms(
        "ViT-B-32", pretrained=str(WEIGHTS), force_quick_gelu=True
    )
    return model.eval().to(device), preprocess, open_clip.get_tokenizer("ViT-B-32")


def similarities(model: Any, images: Any, tokens: Any, device: str) -> list[float]:
    import torch

    with torch.inference_mode():
        image = model.encode_image(images.to(device, non_blocking=True), normalize=True)
        text = model.encode_text(tokens.to(device, non_blocking=True), normalize=True)
        return (image * text).sum(-1).tolist()  # type: ignore[no-any-return]


def plain_loop(asked: argparse.Namespace) -> None:
    import torch
    from PIL import Image

    folder, out, device = asked.input, asked.out, asked.device
    model, preprocess, tokenize = open_clip_model(device)
    found: list[float] = []
    images: list[Any] = []
    captions: list[str] = []

    def run() -> None:
        found.extend(similarities(model, torch.stack(images), tokenize(captions), device))
        images.clear()
        captions.clear()

    for shard in sorted(folder.glob("*.tar")):
        for picture, caption in samples(shard):
            images.append(preprocess(Image.open(io.BytesIO(picture))))
            captions.append(caption)
            if len(images) == BATCH:
                run()
    if images:
        run()
    out.write_text(json.dumps(found))


def data_loader(asked: argparse.Namespace) -> None:
    import torch
    from PIL import Image

    folder, out, device = asked.input, asked.out, asked.device
    model, preprocess, tokenize = open_clip_model(device)

    class Shards(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
        def __iter__(self) -> Iterator[tuple[Any, Any]]:
            me = torch.utils.data.get_worker_info()
            for shard in sorted(folder.glob("*.tar"))[me.id :: me.num_workers]:
                for picture, caption in samples(shard):
                    image = preprocess(Image.open(io.BytesIO(picture)))
                    yield image, tokenize([caption])[0]

    loader = torch.utils.data.DataLoader(
        Shards(), batch_size=BATCH, num_workers=cores(), pin_memory=device != "cpu"
    )
    found = [v for images, tokens in loader for v in similarities(model, images, tokens, device)]
    out.write_text(json.dumps(found))


def parts(asked: argparse.Namespace) -> None:
    """The parts alone and coyo's whole engine, on all cores, by turns in one process.

    Medians of wall and CPU seconds a picture, and of the engine's share of what the parts allow.
    """
    import torch
    from PIL import Image

    from coyo_tools.pieces.scores import scores_of
    from coyo_tools.pieces.shard_reader import find_shards
    from coyo_tools.stages.crew import Crew
    from coyo_tools.stages.score import ScoreWork, _read, pick_device
    from coyo_tools.stages.score_table import Gathered, Row

    folder, out, device = asked.input, asked.out, pick_device(asked.device)
    pairs = [each for shard in sorted(folder.glob("*.tar")) for each in samples(shard)]
    model, preprocess, tokenize = open_clip_model(device)
    images = torch.stack([preprocess(Image.open(io.BytesIO(p))) for p, _ in pairs[:BATCH]])
    tokens = tokenize([caption for _, caption in pairs[:BATCH]])
    threads = torch.get_num_threads()
    scores, weights = scores_of([COLUMN]), {COLUMN: str(WEIGHTS)}
    worker = ScoreWork(
        "", (COLUMN,), weights, device=device, threads=cores(), decode_in=asked.decode_in
    )
    panel = worker._panel(scores, (COLUMN,), device)
    (lane,) = panel.lanes
    size = panel.sizes.of(lane)
    rows = [Row(None, None, caption, picture) for picture, caption in pairs]
    found = find_shards(folder)
    with worker._decoders(scores, device) as decoders, Crew(cores(), device) as crew:

        def decode_all() -> list[Any]:
            if decoders is not None:
                return [each.ready[0] for each in decoders.in_order(panel, rows, 0)]
            return [each.ready[0] for each in crew.in_order(panel.prepare, rows, 4 * cores())]

        def used() -> float:
            pids = [each.process.pid for each in decoders._running] if decoders else []
            return time.process_time() + sum(map(cpu_of, pids))

        ready = decode_all()
        batches = [ready[at : at + size] for at in range(0, len(ready), size)]

        def model_all() -> None:
            for future in [crew.give(lane.scorer.score, batch) for batch in batches]:
                future.result()

        def engine() -> None:
            tables = []
            for shard in found.shards:
                tables.append(Gathered(panel, crew))
                for _ in _read(shard, tables[-1], panel, crew, decoders):
                    pass
            for table in tables:
                table.table()

        def open_clip() -> None:
            torch.set_num_threads(threads)
            similarities(model, images, tokens, device)
            torch.set_num_threads(1)  # MKL's number is that of all threads

        work = {"model": model_all, "decode": decode_all, "engine": engine, "open_clip": open_clip}
        counts = {name: len(rows) for name in work} | {"open_clip": len(images)}
        turns = [{n: timed(each, counts[n], used) for n, each in work.items()} for _ in range(4)][
            1:
        ]
    said = {n: [statistics.median(t[n][i] for t in turns) for i in (0, 1)] for n in work}
    said["allowed"] = [
        statistics.median(together(t["model"][i], t["decode"][i], device) for t in turns)
        for i in (0, 1)
    ]
    said["share"] = [
        statistics.median(
            together(t["model"][i], t["decode"][i], device) / t["engine"][i] for t in turns
        )
        for i in (0, 1)
    ]
    out.write_text(json.dumps(said))


def together(model_s: float, decode_s: float, device: str) -> float:
    """Seconds a picture that the two allow: sharing the cores, or side by side."""
    return model_s + decode_s if device == "cpu" else max(model_s, decode_s)


def timed(
    work: Callable[[], object], pictures: int, used: Callable[[], float]
) -> tuple[float, float]:
    """Wall and CPU seconds a picture."""
    started, before = time.perf_counter(), used()
    work()
    wall = time.perf_counter() - started
    return wall / pictures, (used() - before) / pictures


def cpu_of(pid: int) -> float:
    """CPU seconds of a process that runs, as Linux tells them."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


SIDES = {"open_clip loop": plain_loop, "DataLoader": data_loader, "parts": parts}


def cores() -> int:
    return len(os.sched_getaffinity(0))


# Measuring


def command(side: str, folder: Path, asked: argparse.Namespace) -> list[str]:
    out = OUT / f"score-{side.replace(' ', '-')}"
    if side == "coyo score":
        words = ["score", str(folder), "-o", str(out), "-c", COLUMN, "--device", asked.device]
        words += ["--decode-in", asked.decode_in]
        words += ["--weights", f"{COLUMN}={WEIGHTS}", "--overwrite", "--progress", "none"]
        return [sys.executable, "-m", "coyo_tools", *words]
    here = [sys.executable, __file__, "--side", side, "--input", str(folder), "--out", str(out)]
    return [*here, "--device", asked.device, "--decode-in", asked.decode_in]


def measure(side: int, asked: argparse.Namespace) -> str:
    """The line of the table for pictures of one size."""
    whole, startup = shards(side, asked.pictures), shards(side, STARTUP_PICTURES)
    names = ("open_clip loop", "DataLoader", "coyo score")
    commands = {name: command(name, whole, asked) for name in names}
    starts = {f"{name} start": command(name, startup, asked) for name in names}
    figures = compare({**commands, **starts}, asked.runs, 0)
    run_once(command("parts", shards(side, min(asked.pictures, PARTS_PICTURES)), asked))
    alone = json.loads((OUT / "score-parts").read_text())
    pictures = asked.pictures - STARTUP_PICTURES
    rates = {name: rate(figures, name, pictures) for name in names}
    ours = rates["coyo score"]
    cells = [f"{side} px", *(both(*rates[name]) for name in names)]
    cells += [both(*(ours[i] / rates["DataLoader"][i] for i in (0, 1)), digits=2)]
    cells += [
        both(*(1 / seconds for seconds in alone[part]))
        for part in ("open_clip", "model", "decode", "allowed", "engine")
    ]
    return f"| {' | '.join([*cells, both(*alone['share'], digits=2)])} |"


def rate(figures: dict[str, Figures], name: str, pictures: int) -> tuple[float, float]:
    """Pictures a second of wall time and of CPU time, start-up taken off."""
    whole, start = figures[name], figures[f"{name} start"]
    wall = whole.wall_s.median - start.wall_s.median
    return pictures / wall, pictures / (whole.cpu_s.median - start.cpu_s.median)


def both(wall: float, cpu: float, digits: int = 1) -> str:
    return f"{wall:.{digits}f} ({cpu:.{digits}f})"


def half_precision(side: int, asked: argparse.Namespace) -> list[str]:
    """What fp16 and bf16 do on a GPU: pictures/s, how busy it is, and what moves."""
    folder = shards(side, asked.pictures)
    lines = [
        "| precision | rows/s with start-up | GPU busy, % | difference from fp32: mean, largest |"
    ]
    lines.append("|---|---:|---:|---:|")
    for precision in ("fp32", "fp16", "bf16"):
        words = [*command("coyo score", folder, asked), "--precision", precision, "--json"]
        with busy() as seen:
            said = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
        moved = said["precision_difference"].get(COLUMN, {"mean": 0, "largest": 0})
        lines.append(
            f"| {precision} | {said['rows_per_s']:.0f} | {max(seen, default=0)} | "
            f"{moved['mean']:.2g}, {moved['largest']:.2g} |"
        )
    return lines


class busy:  # noqa: N801  used like a function
    """Asks nvidia-smi twice a second, while the block runs, how busy the GPUs are (%)."""

    def __enter__(self) -> list[int]:
        self.seen: list[int] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self.seen

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        ask = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while shutil.which(ask[0]) and not self._end.wait(0.5):
            said = subprocess.run(ask, capture_output=True, text=True).stdout
            self.seen += [int(line) for line in said.split() if line.isdecimal()]


if __name__ == "__main__":
    main()
