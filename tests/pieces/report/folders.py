"""Output folders made by hand, as docs/architecture.md describes them: small, real pictures."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from coyo_tools.machinery.manifest import begin
from coyo_tools.machinery.storage import folder_at
from coyo_tools.pieces.demo_data import demo_rows, demo_table, picture_bytes
from coyo_tools.pieces.source import find

HOSTILE = (
    "<script>alert('caption')</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></title><svg onload=alert(2)>",
    "\u202egnp.exe \u2066left open \u200f rtl \u0627\u0644\u0639\u0631\u0628\u064a\u0629",
    "javascript:alert(3) &lt;b&gt; &#x3c;i&#x3e; \x00\x07\x1b[31m nul and bell",
    "https://evil.example/track.gif?" + "a" * 300,
    "<!-- <a href='https://evil.example'>x</a> --!> ]]> {{7*7}} ${7*7}",
    "",
)


def metadata(folder: Path, rows: int | None = None, captions: tuple[str, ...] = ()) -> pa.Table:
    """The demo's table, its first captions replaced, in two parts of small row groups."""
    table = demo_table("http://127.0.0.1:9")
    if captions:
        texts = [*captions, *table["text"].to_pylist()[len(captions) :]]
        index = table.schema.get_field_index("text")
        table = table.set_column(index, "text", pa.array(texts, pa.string()))
    table = table.slice(0, rows)
    folder.mkdir(parents=True)
    half = table.num_rows // 2
    for number, part in enumerate((table.slice(0, half), table.slice(half))):
        pq.write_table(part, folder / f"part-{number:05d}.parquet", row_group_size=20)
    return table


def subset(folder: Path, source: Path, *, complete: bool = True, named: bool = True) -> pa.Table:
    """Rows of `source` with a CLIP score of at least 0.22 and a watermark of at most 0.6."""
    parts = find(source).open_all()
    whole = pa.concat_tables([t for p in parts for t in p.batches(p.schema.names)])
    for part in parts:
        part.close()
    good_clip = pc.fill_null(pc.greater_equal(whole["clip_similarity_vitl14"], 0.22), False)
    good_mark = pc.fill_null(pc.less_equal(whole["watermark_score"], 0.6), False)
    kept = whole.filter(pc.and_(good_clip, good_mark))
    after_clip = pc.sum(good_clip).as_py()
    settings = {
        "rules": [{"min_clip_l14": 0.22}, {"max_watermark": 0.6}, {"where": "id > 0 -- <b>"}],
        "columns": None,
        "limit_files": None,
        "schema": "auto",
    }
    with begin(folder_at(folder), "filter", settings, [p.identity() for p in parts]) as run:
        pq.write_table(kept, folder / "part-00000.parquet")
        if complete:
            run.finish(
                {
                    "rows_in": whole.num_rows,
                    "rows_out": kept.num_rows,
                    "bytes_out": (folder / "part-00000.parquet").stat().st_size,
                    "funnel": [
                        _line(
                            "clip_similarity_vitl14 >= 0.22",
                            whole.num_rows - after_clip,
                            after_clip,
                        ),
                        _line(
                            "watermark_score <= 0.6", after_clip - kept.num_rows, kept.num_rows, 3
                        ),
                        _line("id > 0 -- <b>", 0, kept.num_rows, note="drops nothing"),
                    ],
                    "recipe": settings["rules"],
                    **({"source": str(source)} if named else {}),
                },
                ["part-00000.parquet"],
                "sha256:" + "ab" * 32,
            )
    return kept


def _line(rule: str, dropped: int, left: int, null: int = 0, note: str = "") -> dict[str, Any]:
    return {
        "rule": rule,
        "dropped": dropped,
        "dropped_alone": dropped,
        "null": null,
        "left": left,
        "note": note,
    }


def shards(folder: Path, rows: pa.Table, *, a_shard: int = 40, manifest: bool = True) -> None:
    """img2dataset's layout of the demo's pictures; every seventh row failed."""
    files = {row.path: row.file for row in demo_rows()}
    with _begun(folder, "download", manifest) as names:
        for number, start in enumerate(range(0, rows.num_rows, a_shard)):
            stem = f"{number:05d}"
            _shard(folder, stem, rows.slice(start, a_shard).to_pylist(), files)
            names += [f"{stem}.tar", f"{stem}.parquet", f"{stem}_stats.json"]


@contextlib.contextmanager
def _begun(folder: Path, command: str, manifest: bool = True) -> Iterator[list[str]]:
    """A run of `command`, finished with the names that the block adds."""
    folder.mkdir(parents=True, exist_ok=True)
    names: list[str] = []
    if not manifest:
        yield names
        return
    with begin(folder_at(folder), command, {}, []) as run:
        yield names
        run.finish(_result(folder), names, None)


def _result(folder: Path) -> dict[str, Any]:
    """The counts that a finished run leaves, from its files."""
    rows = sum(pq.read_metadata(path).num_rows for path in folder.glob("*.parquet"))
    stats = [json.loads(path.read_text()) for path in folder.glob("*_stats.json")]
    if not stats:
        return {"rows": rows, "errors": {}}
    by_error = {name: sum(s["errors"].get(name, 0) for s in stats) for name in ERRORS}
    return {"rows": rows, "successes": sum(s["successes"] for s in stats), "by_error": by_error}


ERRORS = ("http_404", "timeout", "not_an_image")


def _shard(
    folder: Path, stem: str, rows: list[dict[str, Any]], files: dict[str, str | None]
) -> None:
    out, errors = [], dict[str, int]()
    with tarfile.open(folder / f"{stem}.tar", "w") as tar:
        for i, row in enumerate(rows):
            file = files[row["url"].removeprefix("http://127.0.0.1:9")]
            key = f"{row['id']:016d}"
            error = ERRORS[i % 3] if i % 7 == 6 or file is None else None
            done = {"key": key, "caption": row.pop("text"), "error": error}
            done["status"] = "failed_to_download" if error else "success"
            done |= {"metadata_width": row["width"], "metadata_height": row["height"]}
            done |= {"original_width": None if error else row["width"]}
            done |= {"original_height": None if error else row["height"]}
            scale = min(1, 384 / min(row["width"], row["height"]))
            done["width"] = None if error else round(row["width"] * scale)
            done["height"] = None if error else round(row["height"] * scale)
            done["drift"] = None if error else ("same", "same", "drifted", "replaced")[i % 4]
            out.append(row | done)
            if error:
                errors[error] = errors.get(error, 0) + 1
                continue
            assert file is not None
            _add(tar, f"{key}.{file.rpartition('.')[2]}", picture_bytes(file))
            _add(tar, f"{key}.txt", (done["caption"] or "").encode())
            _add(tar, f"{key}.json", json.dumps({"key": key}).encode())
    pq.write_table(pa.Table.from_pylist(out), folder / f"{stem}.parquet")
    failed = sum(errors.values())
    stats = {
        "count": len(rows),
        "successes": len(rows) - failed,
        "failed_to_download": failed,
        "failed_to_resize": 0,
        "status_dict": {"success": len(rows) - failed, **errors},
        "errors": errors,
    }
    (folder / f"{stem}_stats.json").write_text(json.dumps(stats))


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def scores(folder: Path, of_shards: Path) -> None:
    """image_phash (every fifth is another), text_length, and a CLIP score moved a little."""
    with _begun(folder, "score") as names:
        for path in sorted(of_shards.glob("*.parquet")):
            rows = [r for r in pq.read_table(path).to_pylist() if r["status"] == "success"]
            pq.write_table(pa.Table.from_pylist(_scored(rows)), folder / path.name)
            names.append(path.name)


def _scored(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "id": row["id"],
            "key": row["key"],
            "image_phash": "0" * 16 if i % 5 == 4 else row["image_phash"],
            "text_length": len(row["caption"]),
            "clip_similarity_vitl14": (row["clip_similarity_vitl14"] or 0) + _noise(row["key"]),
            "error": None,
        }
        for i, row in enumerate(rows)
    ]


def _noise(key: str) -> float:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:2], "big") / 65535 * 0.01 - 0.005
