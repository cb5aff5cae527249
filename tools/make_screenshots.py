"""Make the pictures of the README anew: docs/images/report.png and docs/images/filter.svg.

    python tools/make_screenshots.py

The report is the demo's, photographed by Chromium (needs playwright and `chromium`). The terminal
shows what `coyo filter` prints on metadata that benchmarks/make_metadata.py makes; only the
seconds differ from run to run.
"""

from __future__ import annotations

import io
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from coyo_tools.pieces.report.markup import Html, tag

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
MOST_BYTES = 400_000
WIDTH, HEIGHT = 1400, 1660  # px: the head, what it is, the funnel, the first charts
ROWS = 2_000_000
FILTER = (
    "coyo filter metadata -o subset --min-clip-l14 0.25 --max-watermark 0.3 --min-side 256 "
    '--max-nsfw 0.5 --where "num_faces = 0"'
)


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="coyo-images-") as scratch:
        report_picture(Path(scratch))
        filter_picture(Path(scratch))


def coyo(arguments: list[str], folder: Path) -> str:
    """What the command prints on stdout."""
    command = [sys.executable, "-m", "coyo_tools", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE)
    return done.stdout.decode()


# ---------------------------------------------------------------- the report


def report_picture(scratch: Path) -> None:
    coyo(["demo"], scratch)
    data = photograph(scratch / "coyo-demo" / "report.html")
    if len(data) > MOST_BYTES:
        raise SystemExit(f"report.png has {len(data):,} bytes, more than {MOST_BYTES:,}")
    (IMAGES / "report.png").write_bytes(data)


def photograph(page: Path) -> bytes:
    """The page's first screen as a PNG of 256 colours."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("chromium is not installed; on Debian: apt install chromium")
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        shown = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        shown.goto(page.as_uri())
        data = shown.screenshot()
        browser.close()
    out = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        image.convert("RGB").quantize(256).save(out, "PNG", optimize=True)
    return out.getvalue()


# ---------------------------------------------------------------- the terminal


def filter_picture(scratch: Path) -> None:
    maker = ROOT / "benchmarks" / "make_metadata.py"
    subprocess.run(
        [sys.executable, maker, scratch / "metadata", "--files", "2", "--rows", str(ROWS // 2)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    said = coyo(shlex.split(FILTER)[1:], scratch)
    (IMAGES / "filter.svg").write_text(terminal(f"$ {FILTER}\n{said}") + "\n", "utf-8")


GLYPH, LINE, PAD = 7.85, 19, 22  # px


def terminal(said: str) -> Html:
    """Text as a terminal shows it, each line fixed to its width whatever the font."""
    lines = [piece for line in said.rstrip().split("\n") for piece in wrapped(line)]
    width = max(map(len, lines)) * GLYPH + 2 * PAD
    height = len(lines) * LINE + 2 * PAD
    style = (
        ".t{font:13px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#d7e3e6;"
        "white-space:pre}.c{fill:#58cdc7;font-weight:600}.h{fill:#8fa3ab}"
    )
    return tag(
        "svg",
        tag("style", Html(style)),
        tag("rect", width="100%", height="100%", rx="10", fill="#0e1518"),
        *(row(i, line, lines) for i, line in enumerate(lines)),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:.0f} {height}",
        width=f"{width:.0f}",
        height=height,
        role="img",
        aria_label="What coyo filter prints: the rows each rule dropped, and what is left",
    )


def row(number: int, line: str, lines: list[str]) -> Html:
    command = number <= lines.index(next(one for one in lines if one.startswith("rule"))) - 1
    kind = "t c" if command else "t h" if line.startswith("rule ") else "t"
    return tag(
        "text",
        line,
        x=PAD,
        y=PAD + LINE * number + 14,
        class_=kind,
        textLength=f"{len(line) * GLYPH:.1f}" if line else None,
        **{"xml:space": "preserve"},
    )


def wrapped(line: str, most: int = 112) -> list[str]:
    """A long command in lines as the shell takes them, broken before an option."""
    if len(line) <= most:
        return [line]
    cut = line.rfind(" --", 0, most)
    return [line[:cut] + " \\", *wrapped("    " + line[cut:].strip(), most)]


if __name__ == "__main__":
    main()
