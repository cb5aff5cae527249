"""The dataset card of a folder that is published: what it is, how to repeat it, whose it is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from coyo_tools.machinery.manifest import Manifest
from coyo_tools.machinery.storage import is_remote
from coyo_tools.pieces.dataset_objects import SCHEME
from coyo_tools.pieces.report.figures import count, size
from coyo_tools.pieces.scores import meaning_of

PICTURE = "histograms.png"
# Part of the name of every file that Kakao Brain published, and so of the parts made of them.
_PUBLISHED = {
    "17da4908-939c-46e5-91d0-15f256041956": "kakaobrain/coyo-700m",
    "c9672901-7346-47d7-b02e-c1562fdf3cf9": "kakaobrain/coyo-labeled-300m",
}
_COYO_LICENSE = "cc-by-4.0"  # of both, after their dataset cards
_HUB = re.compile(r"hf://datasets/([^/]+/[^/@]+)(?:@([^/]+))?")
_SIZES = ((10**3, "1K"), (10**4, "10K"), (10**5, "100K"), (10**6, "1M"), (10**7, "10M"),
          (10**8, "100M"), (10**9, "1B"), (10**10, "10B"))  # fmt: skip
_CITATION = """```bibtex
@misc{kakaobrain2022coyo-700m,
  title         = {COYO-700M: Image-Text Pair Dataset},
  author        = {Minwoo Byeon, Beomhee Park, Haecheon Kim, Sungjun Lee, Woonhyuk Baek,
                   Saehoon Kim},
  year          = {2022},
  howpublished  = {\\url{https://github.com/kakaobrain/coyo-dataset}},
}
```"""


@dataclass(frozen=True)
class Published:
    """What the card speaks of. manifest: as `public` gives it. columns: name and type, in order.

    configs: a name and the data files of each, the main one first. license: a hub identifier, or
    None to take COYO's where the data is COYO's. drawn: columns in the picture.
    """

    repo: str
    manifest: Manifest
    rows: int
    bytes: int
    columns: Sequence[tuple[str, str]]
    configs: Mapping[str, str]
    license: str | None = None
    drawn: Sequence[str] = ()


def public(manifest: Manifest) -> Manifest:
    """The manifest without the folders of this machine: of local places only the last name."""
    places = [manifest.result.get("source"), *_word_lists(manifest.settings.get("rules") or ())]
    local = {p: PurePosixPath(p).name for p in places if p and "/" in p and not _is_public(p)}
    data = manifest.to_json()
    del data["coyo_tools"]
    return Manifest(**_renamed(data, local)) if local else manifest


def _is_public(place: str) -> bool:
    return is_remote(place) or place.startswith(SCHEME)


def _word_lists(rules: Sequence[Mapping[str, Any]]) -> list[str]:
    return [str(rule["blocked_words"]) for rule in rules if "blocked_words" in rule]


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _renamed(item, names) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_renamed(item, names) for item in value]
    if isinstance(value, str):
        for place, name in names.items():
            whole = rf"(?<!\S){re.escape(place)}(?!\S)"
            value = re.sub(whole, name.replace("\\", r"\\"), value)
    return value


def origin_of(manifest: Manifest) -> tuple[str | None, str | None]:
    """The hub dataset it was made from, and its commit; by the source's url or its files' names."""
    found = _HUB.match(str(manifest.result.get("source")))
    if found:
        return found[1], found[2]
    names = [str(each.get("name")) for each in manifest.inputs]
    for mark, dataset in _PUBLISHED.items():
        if names and all(mark in name for name in names):
            return dataset, None
    return None, None


def license_of(said: Published) -> str:
    """The hub's identifier of the licence: as given, COYO's own, or unknown."""
    origin, _ = origin_of(said.manifest)
    ours = _COYO_LICENSE if origin in _PUBLISHED.values() else "unknown"
    return said.license or ours


def size_category(rows: int) -> str:
    """The hub's name for a number of rows: n<1K, 1K<n<10K and so on."""
    below = "0"
    for most, name in _SIZES:
        if rows < most:
            return f"n<{name}" if below == "0" else f"{below}<n<{name}"
        below = name
    return f"n>{below}"


def recipe_of(manifest: Manifest) -> dict[str, Any]:
    """What a recipe file needs to repeat a `filter`."""
    origin, revision = origin_of(manifest)
    pinned = f"@{revision}" if revision else ""
    source = {"source": f"hf://datasets/{origin}{pinned}"} if origin else {}
    return {**source, "filter": list(manifest.result.get("recipe") or [])}


def card(said: Published) -> str:
    """README.md, front matter and all. The same folder gives the same text."""
    parts = [_front(said), _what(said), _how(said), _funnel(said.manifest.result), _columns(said)]
    return "\n\n".join(part for part in [*parts, _license(said)] if part) + "\n"


def _front(said: Published) -> str:
    import yaml

    origin, _ = origin_of(said.manifest)
    coyo = origin in _PUBLISHED.values()
    data = {
        "pretty_name": said.repo.split("/")[-1],
        "license": license_of(said),
        **({"language": ["en"]} if coyo else {}),
        "task_categories": ["text-to-image", "image-to-text", "zero-shot-classification"],
        "size_categories": [size_category(said.rows)],
        **({"source_datasets": [origin]} if origin else {}),
        "tags": [*(["coyo-700m"] if coyo else []), "image-text pairs", "coyo_tools"],
        "configs": [
            {
                "config_name": name,
                "data_files": [{"split": "train", "path": path}],
                **({"default": True} if number == 0 else {}),
            }
            for number, (name, path) in enumerate(said.configs.items())
        ],
    }
    return "---\n" + yaml.safe_dump(data, sort_keys=False, allow_unicode=True) + "---"


def _what(said: Published) -> str:
    origin, revision = origin_of(said.manifest)
    facts = [("rows", count(said.rows)), ("size", size(said.bytes))]
    source = str(said.manifest.result.get("source") or "")
    if origin:
        how = "" if revision else ", known by the names of its files"
        facts.append(("source", _link(origin) + how))
    elif source:
        facts.append(("source", f"`{source}`"))
    facts.append(("files of the source", f"{len(said.manifest.inputs)}, see manifest.json"))
    if revision:
        facts.append(("revision of the source", f"`{revision}`"))
    if said.manifest.digest:
        facts.append(("digest of the ids", f"`{said.manifest.digest}`"))
    versions = ", ".join(f"{name} {v}" for name, v in said.manifest.versions.items())
    facts.append(("made with", versions))
    return "\n".join(
        [
            f"# {said.repo.split('/')[-1]}",
            "",
            f"Metadata of image-text pairs, written by `coyo {said.manifest.command}` of",
            "[coyo_tools](https://github.com/coyo-tools/coyo-tools). It holds no pictures.",
            "",
            "```python",
            "from datasets import load_dataset",
            "",
            f'data = load_dataset("{said.repo}", split="train")',
            "```",
            "",
            _table(("", ""), facts),
        ]
    )


def _link(dataset: str) -> str:
    return f"[{dataset}](https://huggingface.co/datasets/{dataset})"


def _how(said: Published) -> str:
    import yaml

    made = said.manifest
    if made.command != "filter":
        return ""
    again = "".join(
        f"\n- `{name}` was {made.settings[name]!r}: `coyo run manifest.json` keeps to it, too."
        for name in ("columns", "limit_files")
        if made.settings.get(name) is not None
    )
    origin, revision = origin_of(made)
    named = "" if origin else " --source FOLDER"
    pinned = "" if revision else " --source FOLDER"
    written = yaml.safe_dump(recipe_of(made), sort_keys=False, allow_unicode=True, width=96)
    return (
        f"## Recipe\n\n```yaml\n{written}```\n\n"
        f"`coyo run recipe.yaml{named} -o subset` does this to the whole source. With "
        f"[manifest.json](manifest.json), `coyo run manifest.json{pinned} -o subset` does it again "
        f"to the same files, or says what differs.{again}"
    )


def _funnel(result: Mapping[str, Any]) -> str:
    if "funnel" not in result:
        return ""
    rows = [("all rows", "", "", count(result["rows_in"]))]
    rows += [
        (
            f"`{step['rule']}`",
            count(step["dropped"]),
            count(step["dropped_alone"]),
            count(step["left"]),
        )
        for step in result["funnel"]
    ]
    head = ("rule", "rows dropped", "it alone would drop", "rows left")
    return f"## What each rule dropped\n\n{_table(head, rows)}"


def _columns(said: Published) -> str:
    rows = [(f"`{name}`", dtype, meaning_of(name)) for name, dtype in said.columns]
    drawn = ""
    if said.drawn:
        drawn = f"\n\n![Histograms of {', '.join(said.drawn)}]({PICTURE})"
    return f"## Columns\n\n{_table(('column', 'type', 'meaning'), rows)}{drawn}"


def _license(said: Published) -> str:
    origin, _ = origin_of(said.manifest)
    lines = ["## Licence", ""]
    if origin is not None and origin in _PUBLISHED.values():
        lines += [
            f"Kakao Brain publishes the metadata of {_link(origin)} under",
            "[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/); this is a selection of it.",
            "",
        ]
    elif license_of(said) == "unknown":
        lines += ["Whoever published this did not state the licence of the metadata.", ""]
    lines += [
        "The pictures are not part of this dataset. They, and the texts beside them, come from",
        "the web and belong to their owners; each is subject to its owner's terms.",
    ]
    if origin in _PUBLISHED.values():
        lines += ["", "If you use it, cite COYO-700M:", "", _CITATION]
    return "\n".join(lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )
