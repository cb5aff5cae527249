"""coyo score beside two open_clip loops, and against what decoding and the model allow.

    python benchmarks/bench_score.py [--pictures 192] [--runs 3] [--sides 400,1600]
        [--decode-in auto|threads|processes]

CLIP ViT-B-32 with random weights (the arithmetic is the same) over shards of photographs, JPEG of
three sizes, with captions as long as COYO's. All sides store the cosine of picture and caption:

- open_clip loop: decode, preprocess, a batch of 32 to the model, one after the other
- open_clip DataLoader: the same with a torch DataLoader, a worker process a core
- coyo score: as it is

Rates are after start-up: a run over a shard of one batch is taken off. Then, by turns in one
process: the two parts alone, each on all cores (the model: m pictures/s, open_clip's and as coyo
runs it; decoding with preprocessing: p), what they allow when they share the cores, 1 / (1/m +
1/p), and coyo's engine over the same shards. Wall time on a machine that does nothing else; in
brackets a CPU second, which other processes disturb less.

`--decode-in` says what decodes in coyo, alone and in its engine; RESULTS.md is not written unless
it is auto. For GPUs: bench_gpu.py.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness import OUT, Figures, compare, machine, run_once, versions, write_section
from score_inputs import (
    COLUMN,
    cores,
    open_clip_model,
    run_engine,
    samples,
    shards,
    similarities,
    weights,
)

STARTUP_PICTURES = 8
PARTS_PICTURES = 96
BATCH = 32  # of the loops


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--pictures", type=int, default=192)
    options.add_argument("--runs", type=int, default=3)
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
    weights()
    lines = [
        f"{machine()}; {versions('coyo-tools', 'open-clip-torch', 'torch', 'pillow')}. ViT-B-32, "
        f"random weights, fp32, CPU; {asked.pictures} JPEG photographs a size, "
        f"medians of {asked.runs} interleaved runs, start-up taken off. In brackets: a CPU second.",
        "",
        "| longer side | open_clip loop, pictures/s | open_clip DataLoader | coyo score | times "
        "the DataLoader | model alone: open_clip | model in coyo | decoding alone | the two allow "
        "| coyo's engine | share |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [measure(int(side), asked) for side in asked.sides.split(",")]
    print("\n".join(lines))
    if not asked.dry_run and asked.decode_in == "auto":
        write_section("score: CLIP pictures a second", "\n".join(lines))


# The sides, each a process of its own


def plain_loop(asked: argparse.Namespace) -> None:
    import torch
    from PIL import Image

    folder, out = asked.input, asked.out
    model, preprocess, tokenize = open_clip_model("cpu")
    found: list[float] = []
    images: list[Any] = []
    captions: list[str] = []

    def run() -> None:
        found.extend(similarities(model, torch.stack(images), tokenize(captions), "cpu"))
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

    folder, out = asked.input, asked.out
    model, preprocess, tokenize = open_clip_model("cpu")

    class Shards(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
        def __iter__(self) -> Iterator[tuple[Any, Any]]:
            me = torch.utils.data.get_worker_info()
            for shard in sorted(folder.glob("*.tar"))[me.id :: me.num_workers]:
                for picture, caption in samples(shard):
                    image = preprocess(Image.open(io.BytesIO(picture)))
                    yield image, tokenize([caption])[0]

    loader = torch.utils.data.DataLoader(Shards(), batch_size=BATCH, num_workers=cores())
    found = [v for images, tokens in loader for v in similarities(model, images, tokens, "cpu")]
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
    from coyo_tools.stages.score import ScoreWork
    from coyo_tools.stages.score_table import Row

    folder, out = asked.input, asked.out
    pairs = [each for shard in sorted(folder.glob("*.tar")) for each in samples(shard)]
    model, preprocess, tokenize = open_clip_model("cpu")
    images = torch.stack([preprocess(Image.open(io.BytesIO(p))) for p, _ in pairs[:BATCH]])
    tokens = tokenize([caption for _, caption in pairs[:BATCH]])
    threads = torch.get_num_threads()
    scores = scores_of([COLUMN])
    worker = ScoreWork(
        "",
        (COLUMN,),
        {COLUMN: str(weights())},
        threads=cores(),
        decode_in=asked.decode_in,
    )
    panel = worker._panel(scores, (COLUMN,), "cpu")
    (lane,) = panel.lanes
    size = panel.sizes.of(lane)
    rows = [Row(None, None, caption, picture) for picture, caption in pairs]
    found = find_shards(folder)
    with worker._decoders(scores, "cpu") as decoders, Crew(cores(), "cpu") as crew:

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
            run_engine(found.shards, panel, crew, decoders)

        def open_clip() -> None:
            torch.set_num_threads(threads)
            similarities(model, images, tokens, "cpu")
            torch.set_num_threads(1)  # MKL's number is that of all threads

        work = {"model": model_all, "decode": decode_all, "engine": engine, "open_clip": open_clip}
        counts = {name: len(rows) for name in work} | {"open_clip": len(images)}
        turns = [{n: timed(each, counts[n], used) for n, each in work.items()} for _ in range(4)][
            1:
        ]
    said = {n: [statistics.median(t[n][i] for t in turns) for i in (0, 1)] for n in work}
    said["allowed"] = [
        statistics.median(together(t["model"][i], t["decode"][i]) for t in turns) for i in (0, 1)
    ]
    said["share"] = [
        statistics.median(together(t["model"][i], t["decode"][i]) / t["engine"][i] for t in turns)
        for i in (0, 1)
    ]
    out.write_text(json.dumps(said))


def together(model_s: float, decode_s: float) -> float:
    """Seconds a picture that the two allow where they share the cores."""
    return model_s + decode_s


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


# Measuring


def command(side: str, folder: Path, asked: argparse.Namespace) -> list[str]:
    out = OUT / f"score-{side.replace(' ', '-')}"
    if side == "coyo score":
        words = ["score", str(folder), "-o", str(out), "-c", COLUMN]
        words += ["--decode-in", asked.decode_in]
        words += ["--weights", f"{COLUMN}={weights()}", "--overwrite", "--progress", "none"]
        return [sys.executable, "-m", "coyo_tools", *words]
    here = [sys.executable, __file__, "--side", side, "--input", str(folder), "--out", str(out)]
    return [*here, "--decode-in", asked.decode_in]


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


if __name__ == "__main__":
    main()
