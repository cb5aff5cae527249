"""Metadata like COYO's: its schema, means and shares of duplicates, of any size, from a seed.

    python benchmarks/make_metadata.py benchmarks/out/metadata --files 2 --rows 1500000

Kept of the original: names, types and order of the columns; the published means and ranges; ids
as Spark gives them (unique, above 2^40, unsorted); float16-valued scores; phashes with 32 bits set,
the top one among them; unique urls 87.84 %, phashes 77.60 %, texts 75.81 % of the rows; a url that
comes again shows the same picture; text_length and word_count that agree with text. Nothing else of
it is true: the words, hosts and scores are drawn at random, and no url leads anywhere.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

Array = np.ndarray[Any, Any]

NEW_URL, NEW_PHASH, NEW_TEXT = 0.8784, 0.7760, 0.7581
CHUNK = 250_000  # rows made at once

# Chosen for a mean length near COYO's; a few are not ASCII, so that characters are not bytes.
WORDS = tuple(
    """
    an the of in and on with for by at new old red blue green black white small large vintage photo
    picture image view woman man children dog cat house garden kitchen bedroom wooden table chair
    dress shoes t-shirt wedding flowers mountain beach sunset river city street night car engine
    bicycle guitar music festival football player team champion winter summer spring coffee
    chocolate recipe chicken salad café jalapeño crème naïve München Zürich 2015 2019 3d hd free
    download illustration vector isolated background abstract pattern design logo portrait landscape
    painting canvas poster print stock royalty premium quality handmade silver gold diamond
    ring necklace bracelet leather jacket women's men's 東京 • &
    """.split()  # noqa: SIM905  a paragraph is easier to read than a hundred literals
)
SYMBOLS = 2  # the last of them, which are no words: never among a text's first three
HOSTS = [
    f"{kind}{n}.example.{top}"
    for kind in ("cdn", "img", "www", "static")
    for n in range(250)
    for top in ("com", "net", "org")
]
SCHEMA = pa.schema(
    [("id", pa.int64()), ("url", pa.string()), ("text", pa.string()), ("width", pa.int32()),
     ("height", pa.int32()), ("image_phash", pa.string()), ("text_length", pa.int32()),
     ("word_count", pa.int32()), ("num_tokens_bert", pa.int32()), ("num_tokens_gpt", pa.int32()),
     ("num_faces", pa.int32()), ("clip_similarity_vitb32", pa.float32()),
     ("clip_similarity_vitl14", pa.float32()), ("nsfw_score_opennsfw2", pa.float32()),
     ("nsfw_score_gantman", pa.float32()), ("watermark_score", pa.float32()),
     ("aesthetic_score_laion_v2", pa.float32())]
)  # fmt: skip


@dataclass
class _Drawn:
    """How many distinct pictures and texts there are so far, and the rows that showed them."""

    images: int = 0
    texts: int = 0
    rows: int = 0


def write(
    folder: Path,
    *,
    files: int = 2,
    rows: int = 1_500_000,
    row_group_rows: int = 650_000,
    seed: int = 0,
    codec: str = "snappy",
) -> list[Path]:
    """Write `files` parts of `rows` rows each under COYO's kind of names. Returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn, paths = _Drawn(), []
    for index in range(files):
        path = (
            folder / f"part-{index:05d}-17da4908-939c-46e5-91d0-15f256041956-c000.{codec}.parquet"
        )
        pending: list[pa.Table] = []
        with pq.ParquetWriter(path, SCHEMA, compression=codec) as writer:
            for start in range(0, rows, CHUNK):
                pending.append(table(min(CHUNK, rows - start), drawn, seed))
                pending = _write_full(writer, pending, row_group_rows)
            for rest in pending:
                writer.write_table(rest, row_group_size=row_group_rows)
        paths.append(path)
    return paths


def _write_full(writer: pq.ParquetWriter, pending: list[pa.Table], size: int) -> list[pa.Table]:
    """Write what fills row groups; the rest waits."""
    whole = pa.concat_tables(pending)
    full = len(whole) // size * size
    for start in range(0, full, size):
        writer.write_table(whole.slice(start, size), row_group_size=size)
    return [whole.slice(full).combine_chunks()] if len(whole) > full else []


def table(rows: int, drawn: _Drawn | None = None, seed: int = 0) -> pa.Table:
    """The next `rows` rows of the endless table that `seed` stands for."""
    drawn = drawn or _Drawn()
    draw = np.random.default_rng([seed, drawn.rows])
    row = np.arange(drawn.rows, drawn.rows + rows, dtype=np.uint64)
    image = _repeats(draw, rows, NEW_PHASH, drawn.images)
    text = _repeats(draw, rows, NEW_TEXT, drawn.texts)
    again = (1 - NEW_URL) / (1 - NEW_PHASH)  # of the pictures seen before: at the same url
    own_url = image < drawn.images  # pictures of earlier chunks
    first = np.zeros(rows, bool)
    first[np.unique(image, return_index=True)[1]] = True
    own_url |= ~first
    own_url &= draw.random(rows) >= again
    columns = {
        "id": ((draw.integers(128, 512, rows, dtype=np.uint64) << np.uint64(33)) + row).view(
            np.int64
        ),
        "url": _urls(image, np.where(own_url, row + np.uint64(1), np.uint64(0)), seed),
        "text": _texts(text, seed),
        **_picture(image, seed),
        **_scores(draw, rows),
    }
    columns["text_length"] = pc.utf8_length(columns["text"])
    columns["word_count"] = pc.count_substring_regex(columns["text"], r"[\p{L}\p{N}_]+")
    words = columns["word_count"].to_numpy()
    columns["num_tokens_bert"] = words + draw.poisson(15.75 - 11.13, rows)
    columns["num_tokens_gpt"] = words + draw.poisson(17.24 - 11.13, rows)
    drawn.rows += rows
    drawn.images = max(drawn.images, int(image.max(initial=0)) + 1)
    drawn.texts = max(drawn.texts, int(text.max(initial=0)) + 1)
    return pa.table([pa.array(columns[f.name]).cast(f.type) for f in SCHEMA], schema=SCHEMA)


def _repeats(draw: np.random.Generator, rows: int, new: float, before: int) -> Array:
    """uint64 (rows,): a running number where a thing is new, an earlier one where it repeats."""
    is_new = draw.random(rows) < new
    if before == 0:
        is_new[:1] = True
    number = before + np.cumsum(is_new) - 1
    earlier = (draw.random(rows) * (number + 1)).astype(np.int64)
    return np.where(is_new, number, earlier).astype(np.uint64)


def _mix(value: Array, salt: int) -> Array:
    """uint64: splitmix64 of value + salt."""
    x = value + np.uint64((0x9E3779B97F4A7C15 * (salt + 1)) % 2**64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _unit(value: Array, salt: int) -> Array:
    """float64 in (0, 1) of a number."""
    return ((_mix(value, salt) >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53


def _texts(number: Array, seed: int) -> pa.Array:
    spread = -np.log(_unit(number, seed + 1))
    count = np.clip(3 + np.round(spread * 8.0), 3, 140).astype(np.int64)
    ends = np.concatenate([[0], np.cumsum(count)])
    owner = np.repeat(number, count)
    place = np.arange(ends[-1], dtype=np.uint64) - np.repeat(ends[:-1].astype(np.uint64), count)
    choice = np.where(place < 3, len(WORDS) - SYMBOLS, len(WORDS)).astype(np.uint64)
    word = _mix(owner * np.uint64(1 << 10) + place, seed + 2) % choice
    words = pa.DictionaryArray.from_arrays(word.astype(np.int32), pa.array(WORDS)).cast(pa.string())
    return pc.binary_join(pa.ListArray.from_arrays(ends.astype(np.int32), words), " ")


def _urls(image: Array, copy: Array, seed: int) -> pa.Array:
    """One url a picture, and one of its own for each copy that lies elsewhere (copy > 0)."""
    key = _mix(image + _mix(copy, 3) * (copy > 0), seed + 3)
    host = pa.DictionaryArray.from_arrays((key % len(HOSTS)).astype(np.int32), pa.array(HOSTS))
    month = pa.array((key >> np.uint64(20)) % np.uint64(12) + np.uint64(1)).cast(pa.string())
    word = pa.DictionaryArray.from_arrays(
        ((key >> np.uint64(40)) % np.uint64(len(WORDS))).astype(np.int32),
        pa.array([w.encode("ascii", "ignore").decode() for w in WORDS]),
    ).cast(pa.string())
    return pc.binary_join_element_wise(
        "https://", host.cast(pa.string()), "/wp-content/uploads/2019/", month, "/", word, "-",
        _hex(key), ".jpg", "",
    )  # fmt: skip


def _hex(value: Array) -> pa.Array:
    """16 lower-case hex digits of each uint64."""
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    octets = value.astype(">u8").view(np.uint8).reshape(-1, 8)
    text = np.empty((len(value), 16), np.uint8)
    text[:, 0::2], text[:, 1::2] = digits[octets >> 4], digits[octets & 15]
    offsets = np.arange(0, 16 * len(value) + 1, 16, dtype=np.int32)
    return pa.StringArray.from_buffers(len(value), pa.py_buffer(offsets), pa.py_buffer(text))


def _picture(number: Array, seed: int) -> dict[str, Any]:
    """What belongs to the picture, whichever row shows it."""
    area = np.exp(_normal(number, seed + 4) * 0.52)
    ratio = np.exp(np.clip(0.139 + 0.34 * _normal(number, seed + 6), -1.09, 1.09))
    side = 497.0 * area
    return {
        "width": np.clip(side * np.sqrt(ratio), 200, 21449).astype(np.int32),
        "height": np.clip(side / np.sqrt(ratio), 200, 22507).astype(np.int32),
        "image_phash": _hex(_phash(number, seed + 8)),
    }


def _phash(number: Array, salt: int) -> Array:
    """uint64 with 32 bits set, the top one too: four bytes and their complements, shuffled."""
    half = (_mix(number, salt) >> np.uint64(32)).astype(np.uint32)
    octets = np.stack([half, ~half], axis=1).view(np.uint8).reshape(-1, 8)
    order = np.argsort(_mix(number, salt + 1).view(np.uint8).reshape(-1, 8), axis=1, kind="stable")
    bits = np.take_along_axis(octets, order, axis=1).copy().view(np.uint64).reshape(-1)
    return np.where(bits >> np.uint64(63), bits, ~bits)


def _normal(number: Array, salt: int) -> Array:
    angle = 2 * np.pi * _unit(number, salt + 100)
    return np.sqrt(-2 * np.log(_unit(number, salt))) * np.cos(angle)


def _scores(draw: np.random.Generator, rows: int) -> dict[str, Array]:
    shared = draw.normal(size=rows)
    b32 = 0.291266 + 0.042 * (0.8 * shared + 0.6 * draw.normal(size=rows))
    l14 = 0.254632 + 0.052 * (0.8 * shared + 0.6 * draw.normal(size=rows))
    return {
        "num_faces": draw.geometric(1 / 1.6, rows) - 1,
        "clip_similarity_vitb32": _half(np.clip(b32, -0.080871, 0.591796)),
        "clip_similarity_vitl14": _half(np.clip(l14, -0.176269, 0.581542)),
        "nsfw_score_opennsfw2": _half(np.clip(draw.beta(0.2, 15.3, rows), 0, 0.499755)),
        "nsfw_score_gantman": np.clip(draw.beta(0.3, 8, rows), 0, 0.4999).astype(np.float32),
        "watermark_score": draw.beta(0.35, 1.61, rows).astype(np.float32),
        "aesthetic_score_laion_v2": np.clip(
            draw.normal(4.769132, 0.55, rows), 1.171712, 8.082607
        ).astype(np.float32),
    }


def _half(values: Array) -> Array:
    """float32 values that float16 can hold, as the published CLIP and NSFW scores are."""
    return values.astype(np.float16).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=2)
    parser.add_argument("--rows", type=int, default=1_500_000, help="rows a file")
    parser.add_argument("--row-group-rows", type=int, default=650_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--codec", default="snappy")
    given = parser.parse_args()
    for path in write(
        given.folder, files=given.files, rows=given.rows, row_group_rows=given.row_group_rows,
        seed=given.seed, codec=given.codec,
    ):  # fmt: skip
        print(f"{path.stat().st_size:>13,}  {path}")


if __name__ == "__main__":
    main()
