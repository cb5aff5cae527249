"""What hosts without a name server that answers cost a download of the others.

    python benchmarks/bench_names.py [--hosts 2000] [--runs 3]

Two small pictures of each host, from nginx on 127.0.0.1; names from a name server of the tests,
which knows a name in 30 ms, or says SERVFAIL after 6 s, as one does that has looked for the name in
vain. Whole processes, two workers, medians of interleaved runs. img2dataset cannot be measured
beside: it asks the system's name servers alone, which this script cannot name.
"""

from __future__ import annotations

import argparse
import io
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import harness
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from local_nginx import nginx
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.servers.dns import SERVFAIL, DnsServer

SHARES = (0.0, 0.05, 0.1, 0.25)  # of the hosts, that have no name server that answers
PICTURES = 2  # of each host
KNOWN_S, IN_VAIN_S = 0.03, 6.0
SEED = 20261123


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--hosts", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--dry-run", action="store_true", help="do not write RESULTS.md")
    asked = parser.parse_args()
    took: dict[float, list[float]] = {share: [] for share in SHARES}
    lost: Counter[float] = Counter()
    with tempfile.TemporaryDirectory(prefix="bench-names-") as scratch:
        root = Path(scratch)
        root.chmod(0o755)  # nginx gives its workers to another user
        (root / "www").mkdir()
        for number in range(PICTURES):
            (root / "www" / f"{number}.jpg").write_bytes(picture())
        with nginx(root) as urls:
            port = int(urls["http"].rpartition(":")[2])
            subset = write_subset(root / "subset", asked.hosts, port)
            for turn in range(asked.runs):
                for share in harness.in_turn([str(share) for share in SHARES], turn):
                    seconds, missing = download(root, subset, asked.hosts, float(share))
                    took[float(share)].append(seconds)
                    lost[float(share)] += missing
    body = text(took, lost, asked.hosts, asked.runs)
    print(body)
    if not asked.dry_run:
        harness.write_section("download: hosts without a name server", body)


def picture() -> bytes:
    """A small JPEG."""
    buffer = io.BytesIO()
    Image.new("RGB", (160, 120), (90, 120, 60)).save(buffer, "JPEG")
    return buffer.getvalue()


def host(number: int) -> str:
    return f"h{number}.example"


def write_subset(folder: Path, hosts: int, port: int) -> Path:
    """A row a picture."""
    folder.mkdir()
    urls = [f"http://{host(n)}:{port}/{p}.jpg" for p in range(PICTURES) for n in range(hosts)]
    hashes = [f"{n:016x}" for n in range(len(urls))]
    ids = pa.array(np.arange(len(urls), dtype=np.int64))
    table = pa.table({"id": ids, "url": urls, "text": hashes, "image_phash": hashes})
    pq.write_table(table, folder / "part-00000.parquet")
    return folder


def download(root: Path, subset: Path, hosts: int, share: float) -> tuple[float, int]:
    """Seconds, and how many pictures of hosts with a name server did not come."""
    draw = random.Random(SEED)
    in_vain = {host(n) for n in range(hosts) if draw.random() < share}
    names: dict[str, list[str] | int] = {
        host(n): SERVFAIL if host(n) in in_vain else ["127.0.0.1"] for n in range(hosts)
    }
    with (
        tempfile.TemporaryDirectory(dir=root) as out,
        DnsServer(names, delay_s=KNOWN_S) as dns,
    ):
        dns.found_after_s = dict.fromkeys(in_vain, IN_VAIN_S)
        command = [
            *(sys.executable, "-m", "coyo_tools", "download", str(subset), "-o", f"{out}/out"),
            *("--processes", "2", "--samples-per-shard", "1000", "--progress", "none"),
            *("--allow-private-addresses", "--name-server", dns.address),
        ]
        started = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - started
        statuses: list[str] = []
        for part in Path(out, "out").glob("*.parquet"):
            statuses += pq.read_table(part, columns=["status"])["status"].to_pylist()
    return seconds, PICTURES * (hosts - len(in_vain)) - statuses.count("success")


def text(took: dict[float, list[float]], lost: Counter[float], hosts: int, runs: int) -> str:
    lines = [
        f"{harness.machine()}; {harness.versions('aiodns', 'pycares')}. {hosts:,} hosts, "
        f"{PICTURES} pictures each, medians of {runs} interleaved runs.",
        "",
        "| hosts without an answer | seconds | pictures of other hosts that did not come |",
        "|---:|---:|---:|",
    ]
    for share, seconds in took.items():
        spread = harness.Spread.of(seconds).text(1)
        lines.append(f"| {100 * share:g} % | {spread} | {lost[share]:,} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
