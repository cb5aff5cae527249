"""Images a second of `coyo download` beside img2dataset, on one local nginx.

    python benchmarks/bench_download.py [--images 4000] [--runs 3]

Over http and over TLS. Both run as whole processes with COYO's recommended settings: 384 px,
keep_ratio, only if bigger, no re-encoding where no resize is needed, quality 95, area, 2
processes. Runs are interleaved; the start-up, measured on four urls, is taken off both; a tenth
of the urls is 404. Also: how near the pictures are to cv2's INTER_AREA of a full decode, and how
long cores and processes are idle at the end. Needs nginx, openssl, the `img2dataset` extra,
scikit-image and scikit-learn (for the photographs).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import harness
from local_nginx import nginx

MEGAPIXELS = 0.75
DISTINCT = 300
TAILS = 5
SEED = 20261122
SKIMAGE = (
    "astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "motorcycle_right.png",
    "retina.jpg", "rocket.jpg", "ihc.png", "camera.png", "gravel.png", "grass.png",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--dry-run", action="store_true", help="do not write RESULTS.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-download-") as scratch:
        root = Path(scratch)
        root.chmod(0o755)  # nginx's workers may be another user
        names = make_pictures(root / "www", arguments.images)
        with nginx(root) as base_urls:
            tables = [
                over(scheme, root, names, url, arguments) for scheme, url in base_urls.items()
            ]
            idle = tails(root, root / "all-http", arguments)
        body = (
            f"{harness.machine()}; {harness.versions('coyo-tools', 'img2dataset')}. "
            f"{arguments.images:,} urls on a local nginx, a tenth of them 404, photographs of "
            f"{MEGAPIXELS} megapixels in the mean; {arguments.processes} processes, medians "
            f"of {arguments.runs} interleaved runs, start-up taken off the rates.\n\n"
            + "\n\n".join([*tables, quality(root / "www"), idle])
        )
    print(body)
    if not arguments.dry_run:
        harness.write_section("download: images a second", body)


def over(
    scheme: str, root: Path, names: list[str], base_url: str, arguments: argparse.Namespace
) -> str:
    """The table of one scheme."""
    subsets = {
        "four": write_subset(root / f"four-{scheme}", names[:4], base_url),
        "all": write_subset(root / f"all-{scheme}", names, base_url),
    }
    return f"### Over {scheme}\n\n{measure(root, subsets, arguments)}"


def photographs() -> list[Any]:
    """What scikit-image and scikit-learn install, as RGB."""
    import skimage
    from PIL import Image
    from sklearn.datasets import load_sample_images

    folder = Path(skimage.__file__).parent / "data"
    found = [Image.open(folder / name).convert("RGB") for name in SKIMAGE]
    return found + [Image.fromarray(array) for array in load_sample_images().images]


def make_pictures(www: Path, images: int) -> list[str]:
    """Photographs of mixed size and format, in www; names in request order, a tenth of them of
    files that are not there."""
    import numpy as np

    www.mkdir(parents=True)
    rng = np.random.default_rng(SEED)
    sources = photographs()
    made = []
    for number in range(min(DISTINCT, images)):
        data, extension = one_picture(sources[number % len(sources)], rng)
        (www / f"original-{number}.{extension}").write_bytes(data)
        made.append((www / f"original-{number}.{extension}", extension))
    names = []
    for number in range(images):
        if number % 10 == 7:
            names.append(f"gone-{number}.jpg")
            continue
        original, extension = made[number % len(made)]
        os.link(original, www / f"{number}.{extension}")
        names.append(f"{number}.{extension}")
    return names


def one_picture(source: Any, rng: Any) -> tuple[bytes, str]:
    """A crop, scaled to about MEGAPIXELS (0.2 to 2.5 times), with the grain of a sensor."""
    import numpy as np
    from PIL import Image

    width, height = source.size
    share = rng.uniform(0.75, 1.0)
    w, h = int(width * share), int(height * share * rng.uniform(0.8, 1.0))
    x, y = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
    area = MEGAPIXELS * 1e6 * float(np.clip(rng.lognormal(-0.2, 0.65), 0.2, 2.5))
    scale = (area / (w * h)) ** 0.5
    size = max(200, round(w * scale)), max(200, round(h * scale))
    image = source.crop((x, y, x + w, y + h)).resize(size, Image.Resampling.LANCZOS)
    grain = rng.normal(0, 2.0, (size[1], size[0], 1))
    pixels = np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8)
    return encode(Image.fromarray(pixels), float(rng.random()), int(rng.integers(75, 96)))


def encode(image: Any, draw: float, quality: int) -> tuple[bytes, str]:
    """5 % PNG, 5 % WebP, 15 % progressive JPEG, else baseline JPEG."""
    buffer = io.BytesIO()
    if draw < 0.05:
        image.save(buffer, "PNG")
        return buffer.getvalue(), "png"
    if draw < 0.10:
        image.save(buffer, "WEBP", quality=quality)
        return buffer.getvalue(), "webp"
    image.save(buffer, "JPEG", quality=quality, progressive=draw < 0.25)
    return buffer.getvalue(), "jpg"


def write_subset(folder: Path, names: list[str], base_url: str) -> Path:
    """COYO's columns, as far as a download passes them on."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    count = len(names)
    table = pa.table(
        {
            "id": pa.array([(1 << 40) + 7 * n for n in range(count)], pa.int64()),
            "url": [f"{base_url}/{name}" for name in names],
            "text": [f"photograph number {n}" for n in range(count)],
            "width": pa.array([1000] * count, pa.int32()),
            "height": pa.array([750] * count, pa.int32()),
            "image_phash": ["ffd1a2b3c4d50617"] * count,
            "clip_similarity_vitl14": pa.array([0.25] * count, pa.float32()),
            "watermark_score": pa.array([0.1] * count, pa.float32()),
        }
    )
    pq.write_table(table, folder / "part-00000.parquet")
    return folder


def out_of(root: Path, tool: str, subset: Path) -> Path:
    """What a tool makes of a subset."""
    return root / f"out-{tool}-{subset.name}"


def commands(root: Path, subset: Path, processes: int, per_shard: int) -> dict[str, list[str]]:
    """The two command lines for one subset."""
    binaries = Path(sys.executable).parent
    saved = '["id","width","height","image_phash","clip_similarity_vitl14","watermark_score"]'
    # img2dataset writes width and height of its own: metadata columns of that name are left out.
    saved = saved.replace('"width","height",', "")
    return {
        "coyo download": [
            str(binaries / "coyo"), "download", str(subset),
            "-o", str(out_of(root, "coyo", subset)),
            "--image-size", "384", "--keep-original-bytes", "--allow-private-addresses",
            "--processes", str(processes), "--samples-per-shard", str(per_shard),
        ],
        "img2dataset": [
            str(binaries / "img2dataset"), f"--url_list={subset}", "--input_format=parquet",
            "--url_col=url", "--caption_col=text", "--output_format=webdataset",
            f"--output_folder={out_of(root, 'img2dataset', subset)}",
            f"--processes_count={processes}",
            "--thread_count=64", "--image_size=384", "--resize_mode=keep_ratio",
            "--resize_only_if_bigger=True", "--skip_reencode=True", "--encode_quality=95",
            f"--number_sample_per_shard={per_shard}", f"--save_additional_columns={saved}",
            "--enable_wandb=False",
        ],
    }  # fmt: skip


def shard_size(arguments: argparse.Namespace) -> int:
    """Four shards a process."""
    return max(50, arguments.images // (4 * arguments.processes))


def measure(root: Path, subsets: dict[str, Path], arguments: argparse.Namespace) -> str:
    """Time both, on all urls and on four, all interleaved; the markdown table."""
    per_shard = shard_size(arguments)
    todo = {
        f"{name}, {size}": command
        for size, subset in subsets.items()
        for name, command in commands(
            root, subset, arguments.processes, 2 if size == "four" else per_shard
        ).items()
    }

    def clean(name: str) -> None:
        tool, size = name.split(", ")
        shutil.rmtree(out_of(root, tool.split()[0], subsets[size]), ignore_errors=True)

    env = environment(root)
    found = harness.compare(todo, arguments.runs, warmup=1, env=env, cwd=root, before=clean)
    whole = {n.removesuffix(", all"): f for n, f in found.items() if n.endswith(", all")}
    four = {n.removesuffix(", four"): f for n, f in found.items() if n.endswith(", four")}
    pictures = {name: successes(out_of(root, name.split()[0], subsets["all"])) for name in whole}
    return table(whole, four, pictures)


def environment(root: Path) -> dict[str, str]:
    """What both tools need: nothing asked of the net, and trust in our certificate."""
    return {
        "NO_ALBUMENTATIONS_UPDATE": "1",
        "WANDB_MODE": "disabled",
        "SSL_CERT_FILE": str(root / "own.pem"),
    }


def successes(folder: Path) -> int:
    """Rows with a picture, in either tool's shards."""
    import pyarrow.parquet as pq

    tables = [pq.read_table(path, columns=["status"]) for path in folder.glob("*.parquet")]
    return sum(table.column("status").to_pylist().count("success") for table in tables)


def table(
    whole: dict[str, harness.Figures],
    four: dict[str, harness.Figures],
    pictures: dict[str, int],
) -> str:
    """Images a second, start-up taken off, and the two ratios."""
    lines = [
        "| | pictures | images/s | images/CPU s | wall s | CPU s | start-up wall s | peak MB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    rates = []
    for name, figure in whole.items():
        wall_s = figure.wall_s.median - four[name].wall_s.median
        cpu_s = figure.cpu_s.median - four[name].cpu_s.median
        rates.append((pictures[name] / wall_s, pictures[name] / cpu_s))
        lines.append(
            f"| {name} | {pictures[name]:,} | {rates[-1][0]:.0f} | {rates[-1][1]:.0f} "
            f"| {figure.wall_s.text()} | {figure.cpu_s.text()} | {four[name].wall_s.text()} "
            f"| {figure.peak_rss_mb.text(0)} |"
        )
    wall, cpu = (ours / theirs for ours, theirs in zip(*rates, strict=True))
    return "\n".join([*lines, "", f"Ratio: {wall:.2f} in wall time, {cpu:.2f} in CPU time."])


def quality(www: Path) -> str:
    """How near shrunk pictures are to area averaging, in words."""
    import picture_quality

    def told(found: list[float]) -> str:
        return f"PSNR {sum(found) / len(found):.1f} dB in the mean, {min(found):.1f} dB at least"

    planes = picture_quality.before_encoding(www)
    return (
        f"Against a full decode and cv2's INTER_AREA, {len(planes)} shrunk pictures before they "
        f"are encoded (planes of YCbCr, as a JPEG holds them): {told(planes)}. As they are stored, "
        f"decoded again, against the same in RGB: {told(picture_quality.as_stored(www))}; what cv2 "
        f"stores of the averages themselves: {told(picture_quality.as_cv2_stores(www))}."
    )


def tails(root: Path, subset: Path, arguments: argparse.Namespace) -> str:
    """What had nothing to do in the last fifth of a run, in words."""
    found = [tail(root, subset, arguments) for _ in range(TAILS)]

    def told(shares: list[float]) -> str:
        return f"{statistics.median(shares):.1%} of the time in the median, {max(shares):.1%}"

    cores, processes = ([getattr(each, name) for each in found] for name in Idle._fields)
    return (
        f"In the last fifth of {TAILS} runs the processes' {arguments.processes} cores lay idle "
        f"{told(cores)} at most. A process had nothing to do {told(processes)} at most: one that "
        "has no rows left decodes for the other."
    )


class Idle(NamedTuple):
    """Shares of the last fifth of a run: of the cores' time, and of the processes'."""

    cores: float
    processes: float


def tail(root: Path, subset: Path, arguments: argparse.Namespace) -> Idle:
    """The shares of one run."""
    out = out_of(root, "coyo", subset)
    shutil.rmtree(out, ignore_errors=True)
    command = commands(root, subset, arguments.processes, shard_size(arguments))["coyo download"]
    samples = watched(command, environment(root))
    stats = [json.loads(path.read_text()) for path in out.glob("*_stats.json")]
    start = min(one["start_time"] for one in stats)
    end = max(one["end_time"] for one in stats)
    from_s = end - 0.2 * (end - start)
    workers = sorted(samples.values(), key=lambda at: -sum(at.values()))[: arguments.processes]
    times = sorted({at for worker in workers for at in worker if from_s <= at <= end})
    busy = [[worker.get(at, 0) for worker in workers] for at in times]
    whole = len(times) * arguments.processes
    return Idle(
        1 - sum(min(sum(threads), arguments.processes) for threads in busy) / whole,
        1 - sum(bool(n) for threads in busy for n in threads) / whole,
    )


def watched(command: list[str], env: dict[str, str]) -> dict[int, dict[float, int]]:
    """For each process of a run, and each moment: how many of its threads ran or could have."""
    process = subprocess.Popen(
        command,
        env={**os.environ, **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    found: dict[int, dict[float, int]] = {}
    while process.poll() is None:
        now = time.time()
        for number in harness.family(process.pid)[1:]:
            with contextlib.suppress(OSError):  # it has ended
                found.setdefault(number, {})[now] = busy_threads(Path(f"/proc/{number}"))
        time.sleep(0.02)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit {process.returncode}")
    return found


def busy_threads(folder: Path) -> int:
    """How many threads of a process in /proc run, may run, or wait for a disk."""
    states = (path.read_text().rpartition(")")[2].split()[0] for path in folder.glob("task/*/stat"))
    return sum(state in "RD" for state in states)


if __name__ == "__main__":
    main()
