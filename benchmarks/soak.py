"""Memory of `coyo download` over many urls of hosts that are well, slow, or failing.

    python benchmarks/soak.py [--urls 100000]

Small pictures come from a server in its own process, which listens on many addresses of this
machine. Resident size, summed over the run's processes, is sampled; the curve becomes
docs/images/soak.svg and the figures a section of RESULTS.md.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "soak.svg"
WELL = [f"127.0.0.{n}" for n in range(2, 34)]
SLOW = [f"127.0.0.{n}" for n in range(34, 38)]  # a second an answer
BROKEN, RESETTING, SILENT = "127.0.0.38", "127.0.0.39", "127.0.0.40"
LIMIT_MB = 1500
SAMPLE_S = 0.5
PICTURES = 200
STYLE = """svg{background:#fff;font:10px sans-serif}
.curve{fill:none;stroke:#2563eb;stroke-width:1.5}.plot{fill:#f4f4f5}.tick,.name{fill:#52525b}.axis{stroke:#a1a1aa}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--urls", type=int, default=100_000)
    parser.add_argument("--limit", type=float, default=900, help="seconds the run may take")
    parser.add_argument("--dry-run", action="store_true", help="write neither figures nor picture")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    try:
        with tempfile.TemporaryDirectory(prefix="soak-") as scratch:
            subset = write_subset(Path(scratch) / "subset", arguments.urls, ours.recv())
            samples = run(subset, Path(scratch) / "out", arguments.limit)
            rows = outcomes(Path(scratch) / "out")
    finally:
        server.terminate()
    if sum(rows.values()) != arguments.urls:
        raise SystemExit(f"{sum(rows.values()):,} of {arguments.urls:,} rows came out")
    body = text(samples, rows, arguments.urls)
    print(body)
    if not arguments.dry_run:
        PICTURE.write_text(picture(samples), encoding="utf-8")
        harness.write_section("download: memory over many urls", body)


def serve(pipe: Any) -> None:
    """Listen on every address until ended; the port goes through the pipe."""
    asyncio.run(_serve(pipe))


async def _serve(pipe: Any) -> None:
    answers = [_answer(data) for data in make_pictures()]
    loop = asyncio.get_running_loop()
    first = await loop.create_server(lambda: Answering(answers), WELL[0], 0, backlog=1024)
    port = first.sockets[0].getsockname()[1]
    rest = [*WELL[1:], *SLOW, BROKEN, RESETTING, SILENT]
    await loop.create_server(lambda: Answering(answers), rest, port, backlog=1024)
    pipe.send(port)
    await asyncio.Event().wait()


def make_pictures() -> list[bytes]:
    """Noise of 100 to 500 px a side: as JPEGs between 2 and 60 kB."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    found = []
    for _ in range(PICTURES):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
        size = int(rng.integers(100, 500)), int(rng.integers(100, 500))
        buffer = io.BytesIO()
        coarse.resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        found.append(buffer.getvalue())
    return found


def _answer(data: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b" % (
        len(data),
        data,
    )


class Answering(asyncio.Protocol):
    """One connection: what it answers follows from the address it came to and the path."""

    def __init__(self, answers: list[bytes]) -> None:
        self._answers = answers

    def connection_made(self, transport: Any) -> None:
        """Keep the address that was asked."""
        self._transport = transport
        self._address = transport.get_extra_info("sockname")[0]

    def data_received(self, data: bytes) -> None:
        """One request; answered now, later, or not at all."""
        number = int(data.split(b" ", 2)[1].strip(b"/").split(b".")[0])
        if self._address == SILENT:
            return
        if self._address == RESETTING:
            self._transport.abort()
            return
        delay_s = 1.0 if self._address in SLOW else 0.0
        asyncio.get_running_loop().call_later(delay_s, self._send, number)

    def _send(self, number: int) -> None:
        if self._address == BROKEN:
            self._transport.write(b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n")
        elif number % 25 == 3:
            self._transport.write(b"HTTP/1.1 404 Gone\r\nContent-Length: 0\r\n\r\n")
        else:
            self._transport.write(self._answers[number % len(self._answers)])


def host_of(number: int) -> str:
    """2 % of the urls are of slow hosts, 0.2 % of each failing one."""
    failing = {1: BROKEN, 2: RESETTING, 3: SILENT}.get(number % 500)
    if failing is not None:
        return failing
    return SLOW[number // 50 % 4] if number % 50 == 7 else WELL[number % len(WELL)]


def write_subset(folder: Path, urls: int, port: int) -> Path:
    """Metadata of so many urls."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    hosts = [host_of(n) for n in range(urls)]
    table = pa.table(
        {
            "id": pa.array(range(urls), pa.int64()),
            "url": [f"http://{host}:{port}/{n}.jpg" for n, host in enumerate(hosts)],
            "text": [f"picture {n}" for n in range(urls)],
        }
    )
    folder.mkdir()
    pq.write_table(table, folder / "part-00000.parquet")
    return folder


def run(subset: Path, out: Path, limit_s: float) -> list[tuple[float, float]]:
    """Download; seconds since the start and resident MB of all its processes together."""
    command = [
        str(Path(sys.executable).parent / "coyo"), "download", str(subset), "-o", str(out),
        "--processes", "2", "--connections", "256", "--per-host", "64", "--timeout", "3",
        "--allow-private-addresses", "--image-size", "256",
    ]  # fmt: skip
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    samples = []
    try:
        while process.poll() is None:
            if time.monotonic() - started > limit_s:
                raise SystemExit(f"not done after {limit_s:g} s")
            samples.append((time.monotonic() - started, resident_mb(process.pid)))
            time.sleep(SAMPLE_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode:
        raise SystemExit(f"coyo download: exit {process.returncode}")
    return samples


def resident_mb(pid: int) -> float:
    """Summed over a process and its descendants; pages they share are counted for each."""
    pages = 0
    for each in harness.family(pid):
        with contextlib.suppress(OSError):  # it has ended
            pages += int(Path(f"/proc/{each}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def outcomes(out: Path) -> dict[str, int]:
    """Rows by error class; successes under `success`."""
    import pyarrow.parquet as pq

    found: dict[str, int] = {}
    for path in sorted(out.glob("*.parquet")):
        for error in pq.read_table(path, columns=["error"]).column("error").to_pylist():
            found[error or "success"] = found.get(error or "success", 0) + 1
    return found


def growth(samples: list[tuple[float, float]]) -> float:
    """How much larger the last quarter of the run is than the second one, as a share."""
    end = samples[-1][0]
    second = [mb for at, mb in samples if end / 4 <= at < end / 2]
    last = [mb for at, mb in samples if end * 3 / 4 <= at < end * 0.95]
    return statistics.median(last) / statistics.median(second) - 1


def text(samples: list[tuple[float, float]], rows: dict[str, int], urls: int) -> str:
    """What RESULTS.md says."""
    by_count = sorted(rows.items(), key=lambda item: -item[1])
    largest = max(mb for _, mb in samples)
    said = ", ".join(f"{name} {count:,}" for name, count in by_count)
    return (
        f"{harness.machine()}; {harness.versions('coyo-tools', 'aiohttp')}. {urls:,} urls "
        "of 39 hosts, four of them slow, three failing; 2 processes, 256 connections each.\n\n"
        f"Largest resident size of all its processes together: {largest:,.0f} MB "
        f"(the limit is {LIMIT_MB:,}); last quarter of the run against the second: "
        f"{growth(samples):+.1%}. {samples[-1][0]:.0f} s.\n\nRows: {said}.\n\n"
        f"![resident size over time](../docs/images/{PICTURE.name})"
    )


def picture(samples: list[tuple[float, float]]) -> str:
    """The curve as a file of its own."""
    from coyo_tools.pieces.report.charts import curve

    said = f"Resident size of a download, {samples[-1][0]:.0f} s long"
    drawn = str(curve(samples, said, "seconds", "MB"))
    head = drawn.index(">") + 1
    opened = drawn[:head].replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    return f"{opened}<style>{STYLE}</style>{drawn[head:]}\n"


if __name__ == "__main__":
    main()
