"""The models trained on COYO at full size: seconds and memory of align_similarity and vit_labels.

    python benchmarks/bench_coyo_models.py [--pictures 16] [--batch 8] [--threads 2]

Random weights of the real architectures (ALIGN: EfficientNet-B7 and BERT; ViT-L/16 at 384 px), made
first; each model then in a process of its own on the CPU. Loading, making pictures ready and the
model are counted in CPU seconds, so that other processes disturb them little; the memory is the
process's largest, and holds torch itself.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' folders of models

from harness import machine, versions, write_section

COLUMNS = ("align_similarity", "vit_labels")


def make(column: str, folder: Path) -> None:
    from tests.pieces.scores.small_hub import make_align, make_vit

    (make_align if column == "align_similarity" else make_vit)(folder, full_size=True)


def measure(column: str, folder: Path, pictures: int, batch: int, threads: int) -> dict[str, Any]:
    """CPU milliseconds a picture, seconds to load, and the memory. Runs in its own process."""
    import torch

    from coyo_tools.pieces.decoding import decode
    from coyo_tools.pieces.scores import score_of
    from coyo_tools.pieces.scores.base import Sample
    from coyo_tools.pieces.scores.lanes import load_lanes
    from tests.tars import photographs

    torch.set_num_threads(threads)
    score = score_of(column)
    assert score is not None
    images = [decode(data) for data in photographs(pictures)]
    samples: list[Any] = [Sample("k", "a photograph of a cat", image) for image in images]
    times = [time.process_time()]
    (lane,) = load_lanes([score], "cpu", "fp32", {column: folder})
    times.append(time.process_time())
    ready = [lane.scorer.prepare(sample) for sample in samples]
    times.append(time.process_time())
    for start in range(0, len(ready), batch):
        lane.scorer.score(ready[start : start + batch])
    times.append(time.process_time())
    load, prepare, score_s = (b - a for a, b in itertools.pairwise(times))
    return {
        "load_s": load,
        "prepare_ms": 1000 * prepare / len(samples),
        "model_ms": 1000 * score_s / len(samples),
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def in_a_process(column: str, folder: str, asked: argparse.Namespace) -> dict[str, Any]:
    numbers = [f"--{name}={getattr(asked, name)}" for name in ("pictures", "batch", "threads")]
    command = [sys.executable, __file__, *numbers, "--measure", column, "--folder", folder]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--pictures", type=int, default=16)
    options.add_argument("--batch", type=int, default=8)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--dry-run", action="store_true", help="do not write RESULTS.md")
    options.add_argument("--measure", choices=COLUMNS, help=argparse.SUPPRESS)
    options.add_argument("--folder", help=argparse.SUPPRESS)
    asked = options.parse_args()
    warnings.simplefilter("ignore")
    if asked.measure:
        folder = Path(asked.folder)
        found = measure(asked.measure, folder, asked.pictures, asked.batch, asked.threads)
        print(json.dumps(found))
        return
    lines = [
        f"{machine()}; {versions('torch', 'transformers')}. Full-size models with random weights, "
        f"fp32, {asked.threads} threads, {asked.pictures} photographs in batches of {asked.batch}.",
        "",
        "| column | loading, CPU s | making ready, CPU ms a picture | model, CPU ms a picture | "
        "largest memory, GB |",
        "|---|---:|---:|---:|---:|",
    ]
    for column in COLUMNS:
        with tempfile.TemporaryDirectory() as folder:
            make(column, Path(folder))
            f = in_a_process(column, folder, asked)
        figures = f"{f['load_s']:.1f} | {f['prepare_ms']:.0f} | {f['model_ms']:,.0f}"
        lines.append(f"| `{column}` | {figures} | {f['peak_gb']:.1f} |")
    print("\n".join(lines))
    if not asked.dry_run:
        write_section("models trained on COYO: seconds and memory", "\n".join(lines))


if __name__ == "__main__":
    main()
