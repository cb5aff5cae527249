import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest

from coyo_tools.cli import main
from coyo_tools.verbs.report import report
from coyo_tools.words.config import ReportSettings
from coyo_tools.words.errors import (
    CorruptFile,
    SettingsError,
    SourceError,
    SourceNotFound,
    StorageError,
)
from coyo_tools.words.failures import FAILURES
from tests.browser import browser, opened
from tests.pieces.report import folders
from tests.servers.s3 import s3_server

ALL = ("subset", "shards", "scores")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of every kind, with captions that attack the page, and the page of them."""
    root = tmp_path_factory.mktemp("report")
    folders.metadata(root / "metadata", captions=folders.HOSTILE)
    kept = folders.subset(root / "subset", root / "metadata")
    folders.shards(root / "shards", kept)
    folders.scores(root / "scores", root / "shards")
    report([root / name for name in ALL], root / "report.html")
    return root


class Page(HTMLParser):
    """Everything a parser finds: tags with attributes, and that they are closed in order."""

    VOID = ("meta", "br", "hr", "img")

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.text = ""
        self.feed(markup)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.text += "|" if tag in ("th", "td") else ""
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.fixture(scope="module")
def page(made: Path) -> Page:
    return Page((made / "report.html").read_text("utf-8"))


def test_it_has_every_section_in_the_datas_way(page: Page) -> None:
    ids = [attributes["id"] for attributes in page.all("section")]
    assert ids == ["about", "funnel", "columns", "download", "drift", "sizes", "scores", "pictures"]
    anchors = {a["href"] for a in page.all("a")}
    assert {f"#{i}" for i in ids} <= anchors


def test_nothing_is_asked_of_any_network(page: Page) -> None:
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "data", "poster", "action", "style"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:image/jpeg;base64,")), (tag, name)
        assert not [name for name in attributes if name.startswith("on")]
    assert not {"script", "link", "iframe", "object", "form", "base"} & {t for t, _ in page.tags}
    policy = page.all("meta")[1]["content"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")


def test_ids_are_unique_and_pictures_have_a_text(page: Page) -> None:
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert all(a.get("alt") for a in page.all("img"))
    assert all(a.get("aria-label") for a in page.all("svg"))
    assert len(page.all("caption")) == len(page.all("table"))


def test_figures_are_those_of_the_folders(made: Path, page: Page) -> None:
    result = json.loads((made / "subset" / "manifest.json").read_text())["result"]
    assert f"{result['rows_out']} of {result['rows_in']} rows kept" in page.text
    assert len(page.all("img")) == 60
    stats = [json.loads(p.read_text()) for p in (made / "shards").glob("*_stats.json")]
    for name in folders.ERRORS:
        rows = sum(s["errors"].get(name, 0) for s in stats)
        meaning = re.escape(FAILURES[name].meaning)
        assert re.search(rf"{name} {meaning}(; may pass later)?\|{rows}\|", page.text)


def test_captions_are_quoted_as_they_are(page: Page) -> None:
    assert "<script>alert('caption')</script>" in page.text
    assert "javascript:alert(3) &lt;b&gt;" in page.text
    assert "\x00" not in page.text


def test_the_same_folders_give_the_same_bytes(made: Path, tmp_path: Path) -> None:
    again = report([made / name for name in ALL], tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == (made / "report.html").read_bytes()
    assert again.bytes == (made / "report.html").stat().st_size
    assert again.pictures == 60


@pytest.mark.parametrize("names", [("subset",), ("shards",), ("scores",), ("scores", "shards")])
def test_any_of_the_folders_alone_makes_a_page(
    made: Path, tmp_path: Path, names: tuple[str, ...]
) -> None:
    result = report([made / name for name in names], tmp_path / "page.html")
    Page((tmp_path / "page.html").read_text("utf-8"))
    assert result.sections[0] == "What this is"
    assert len(result.sections) > 1


def test_shares_are_of_a_folders_own_rows(made: Path, tmp_path: Path) -> None:
    rows = folders.metadata(tmp_path / "metadata", rows=30)
    folders.shards(tmp_path / "shards", rows)
    report([made / "subset", tmp_path / "shards"], tmp_path / "page.html")
    said = Page((tmp_path / "page.html").read_text("utf-8")).text
    assert "30urls asked for" in said
    result = json.loads((tmp_path / "shards" / "manifest.json").read_text())["result"]
    assert f"{result['successes']}pictures fetched{100 * result['successes'] / 30:.2f}" in said


def test_several_folders_of_a_kind_are_told_apart(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "subset", tmp_path / "other")
    result = report([made / "subset", tmp_path / "other"], tmp_path / "page.html")
    assert [t for t in result.sections if t.startswith("The funnel")] == [
        "The funnel: subset",
        "The funnel: other",
    ]
    Page((tmp_path / "page.html").read_text("utf-8"))


def test_img2datasets_shards_need_no_manifest(tmp_path: Path) -> None:
    rows = folders.metadata(tmp_path / "metadata", rows=30)
    folders.shards(tmp_path / "shards", rows, manifest=False)
    found = report(tmp_path / "shards", tmp_path / "page.html", ReportSettings(gallery=4))
    assert found.pictures == 4


def test_a_source_that_is_gone_or_changed_leaves_what_was_kept(tmp_path: Path) -> None:
    folders.metadata(tmp_path / "metadata")
    folders.subset(tmp_path / "subset", tmp_path / "metadata")
    said = _page(tmp_path, "subset")
    assert "Every row was read." in said
    assert "\u2265 0.22 keeps 76.92\u202f% of the source" in said
    part = tmp_path / "metadata" / "part-00000.parquet"
    pq.write_table(pq.read_table(part).slice(1), part)
    assert "has changed since" in _page(tmp_path, "subset")
    shutil.rmtree(tmp_path / "metadata")
    assert "cannot be read from here" in _page(tmp_path, "subset")


def _page(root: Path, *names: str, **settings: Any) -> str:
    report([root / n for n in names], root / "page.html", ReportSettings(**settings))
    return Page((root / "page.html").read_text("utf-8")).text


def test_the_size_of_a_sample_is_said(tmp_path: Path) -> None:
    folders.metadata(tmp_path / "metadata")
    folders.subset(tmp_path / "subset", tmp_path / "metadata")
    assert "40 of 117 rows of source" in _page(tmp_path, "subset", max_rows=50)


def test_a_picture_that_does_not_decode_is_left_out_and_said(tmp_path: Path) -> None:
    rows = folders.metadata(tmp_path / "metadata", rows=20)
    folders.shards(tmp_path / "shards", rows)
    tar = tmp_path / "shards" / "00000.tar"
    data = bytearray(tar.read_bytes())
    at = data.index(b"\xff\xd8\xff")
    data[at : at + 200] = b"\0" * 200
    tar.write_bytes(data)
    assert "1 more did not decode" in _page(tmp_path, "shards")


def test_bad_folders_are_named_and_leave_the_old_page(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    out.write_text("old")
    folders.subset(tmp_path / "unfinished", made / "metadata", complete=False)
    with pytest.raises(SourceError, match="not finished"):
        report([made / "subset", tmp_path / "unfinished"], out)
    with pytest.raises(SourceNotFound):
        report(tmp_path / "absent", out)
    with pytest.raises(SettingsError, match="no folder"):
        report([], out)
    with pytest.raises(SettingsError, match=r"end in \.html"):
        report(made / "subset", tmp_path / "page")
    with pytest.raises(StorageError, match=r"s3://: names no place"):
        report(made / "subset", "s3://page.html")
    assert out.read_text() == "old"
    assert [p.name for p in tmp_path.glob("*.coyo-tmp")] == []


def test_a_missing_parquet_beside_a_tar_is_named(tmp_path: Path) -> None:
    rows = folders.metadata(tmp_path / "metadata", rows=60)
    folders.shards(tmp_path / "shards", rows, manifest=False)
    (tmp_path / "shards" / "00001.parquet").unlink()
    with pytest.raises(CorruptFile, match=r"00001\.tar: has no parquet"):
        report(tmp_path / "shards", tmp_path / "page.html")


def test_the_command_prints_one_json_document(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "page.html"
    with pytest.raises(SystemExit) as end:
        main(["report", str(made / "subset"), "-o", str(out), "--json"])
    assert end.value.code == 0
    said = json.loads(capsys.readouterr().out)
    assert said["out"] == str(out)
    assert said["bytes"] == out.stat().st_size


def test_the_command_names_the_page_and_a_bad_folder(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["report", str(made / "subset"), "-o", str(tmp_path / "p.html")])
    assert end.value.code == 0
    assert "the funnel" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        main(["report", str(tmp_path / "absent"), "-o", str(tmp_path / "q.html")])
    assert end.value.code == 1
    assert "no such folder" in capsys.readouterr().err


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as found:
        yield found


@pytest.mark.parametrize("width", [390, 768, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_it_and_nothing_happens(
    chromium: Any, made: Path, width: int, scheme: str
) -> None:
    viewport = {"width": width, "height": 900}
    with opened(chromium, made / "report.html", viewport=viewport, color_scheme=scheme) as seen:
        assert seen.deeds == []
        assert seen.run("document.documentElement.scrollWidth") == width
        assert seen.run("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
        assert seen.run("document.querySelectorAll('script, iframe, object, embed').length") == 0
        dark = seen.run("getComputedStyle(document.body).backgroundColor") == "rgb(14, 21, 24)"
        assert dark is (scheme == "dark")


def test_captions_change_nothing_of_the_page(chromium: Any, made: Path) -> None:
    with opened(chromium, made / "report.html", java_script_enabled=True) as seen:
        captions = seen.run("[...document.querySelectorAll('.caption')].map(c => c.textContent)")
        assert "<script>alert('caption')</script>" in captions
        inside = seen.run("[...document.querySelectorAll('.caption bdi *')].length")
        assert inside == 0
        isolated = seen.run(
            "[...document.querySelectorAll('bdi')]"
            ".every(b => getComputedStyle(b).unicodeBidi.includes('isolate'))"
        )
        assert isolated


def test_text_and_ground_have_contrast(chromium: Any, made: Path) -> None:
    """WCAG AA: 4.5 to 1 for every kind of small text, light and dark."""
    for scheme in ("light", "dark"):
        with opened(chromium, made / "report.html", color_scheme=scheme) as seen:
            for selector in (
                "body",
                ".lead p",
                ".note",
                ".meaning",
                ".beyond",
                "svg text",
                ".mark",
            ):
                ratio = seen.run(CONTRAST.replace("SELECTOR", selector))
                assert ratio >= 4.5, (scheme, selector, ratio)


CONTRAST = """(() => {
  const lum = c => { const [r, g, b] = c.match(/[0-9.]+/g).slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const e = document.querySelector('SELECTOR'), s = getComputedStyle(e);
  const text = lum(e instanceof SVGElement ? s.fill : s.color);
  const ground = lum(getComputedStyle(document.body).backgroundColor);
  return (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
})()"""


def test_it_prints(chromium: Any, made: Path) -> None:
    with opened(chromium, made / "report.html") as seen:
        assert seen.page.pdf().startswith(b"%PDF")


def test_folders_and_page_may_lie_in_an_object_store(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server(monkeypatch):
        fs = fsspec.filesystem("s3")
        for name in ALL:
            fs.put(str(made / name), f"bucket/{name}", recursive=True)
        result = report([f"s3://bucket/{name}" for name in ALL], "s3://bucket/out/page.html")
        remote = fs.cat_file("bucket/out/page.html")
    assert result.pictures == 60
    report([made / name for name in ALL], tmp_path / "page.html")
    assert remote == (tmp_path / "page.html").read_bytes()
