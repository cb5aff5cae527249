"""Folders of web servers, listed by their pages: what hiccups is asked again."""

from __future__ import annotations

import pytest

from coyo_tools.machinery.traffic import Traffic
from coyo_tools.pieces import source, web_folders
from coyo_tools.words.config import RemoteSettings
from coyo_tools.words.errors import CorruptFile, SourceError, SourceNotFound
from tests.metadata import rows_of, write_parts
from tests.servers.files import FileServer, breaks, refuses

QUICK = RemoteSettings(attempts=3, pause_s=0.01, timeout_s=0.4)
NAMES = ["a b", "100%25", "é#2?", "[x]"]


@pytest.fixture
def server(tmp_path):
    for folder in ("m", "m/deep/er", "m/_temporary", "m/.hidden"):
        write_parts(tmp_path / folder, [rows_of({})])
    with FileServer(tmp_path) as server:
        yield server


def found(url: str, traffic: Traffic | None = None) -> list[str]:
    return [part.name for part in source.find(url, traffic=traffic or Traffic(QUICK)).parts]


@pytest.mark.parametrize(
    ("place", "names"),
    [
        ("m", ["deep__er__part-0.parquet", "part-0.parquet"]),
        ("m/", ["deep__er__part-0.parquet", "part-0.parquet"]),
        ("m/*.parquet", ["part-0.parquet"]),
        ("m/[dq]*/er/*.parquet", ["part-0.parquet"]),
        ("m/deep/**/*.parquet", ["part-0.parquet"]),
        ("m/part-0.parquet?signature=x", ["part-0.parquet"]),
    ],
)
def test_a_folder_a_pattern_and_a_signed_file(server, place, names):
    assert found(f"{server.base_url}/files/{place}") == names


@pytest.mark.parametrize("name", NAMES)
def test_names_are_the_files_own(server, name):
    path = server.folder / "m" / "part-0.parquet"
    path.rename(path.with_name(f"{name}.parquet"))
    at = f"{server.base_url}/files/m"
    assert [part.name for part in source.find(f"{at}/*.parquet").parts] == [f"{name}.parquet"]
    assert source.find(f"{at}/*.parquet").open_all()[0].rows == 1


@pytest.mark.parametrize("pattern", ["a b*", "a%20b*", "**/a b.parquet"])
def test_a_pattern_may_be_written_as_the_name_or_as_its_address(server, pattern):
    path = server.folder / "m" / "part-0.parquet"
    path.rename(path.with_name("a b.parquet"))
    assert found(f"{server.base_url}/files/m/{pattern}") == ["a b.parquet"]


def test_folders_may_lie_deep(server):
    path = server.folder / "m" / "/".join("a" * 32) / "p.parquet"
    path.parent.mkdir(parents=True)
    (server.folder / "m" / "part-0.parquet").rename(path)
    assert found(f"{server.base_url}/files/m/a") == ["p.parquet"]


def test_a_file_of_another_name_is_read_and_not_twice(server):
    path = server.folder / "m" / "part-0.parquet"
    path.rename(path.with_name("latest"))
    traffic = Traffic(QUICK)
    assert found(f"{server.base_url}/files/m/latest", traffic) == ["latest.parquet"]
    assert traffic.fetched().bytes < 10  # whether it is a page is known before its body


@pytest.mark.parametrize("place", ["m", "m/*.parquet"])
@pytest.mark.parametrize("fault", [refuses(503), refuses(429), refuses(500), breaks(0)])
def test_a_listing_is_asked_for_again(server, place, fault):
    server.faults["listing"] = [fault, fault]
    traffic = Traffic(QUICK)
    assert "part-0.parquet" in found(f"{server.base_url}/files/{place}", traffic)
    assert traffic.fetched().repeated == 2


@pytest.mark.parametrize("place", ["m", "m/*.parquet"])
@pytest.mark.parametrize(
    ("status", "said"), [(503, "answers 503 .*tried 3 times"), (401, "answers 401"), (403, "403")]
)
def test_a_refused_listing_is_one_sentence(server, place, status, said):
    server.faults["listing"] = [refuses(status)] * 3
    with pytest.raises(SourceError, match=f"cannot be read: 127.0.0.1 .*{said}"):
        found(f"{server.base_url}/files/{place}")


def test_a_folder_within_that_cannot_be_listed_is_not_left_out(server):
    server.faults["listing"] = [None, None, refuses(403)]
    with pytest.raises(SourceError, match=r"/deep/: cannot be read: .* answers 403"):
        found(f"{server.base_url}/files/m")


@pytest.mark.parametrize("place", ["m", "m/**/*.parquet"])
def test_folders_that_lead_back_into_themselves_are_one_sentence(server, place):
    (server.folder / "m" / "again").symlink_to(server.folder / "m")
    with pytest.raises(SourceError, match=r"/again/.*: lies 33 folders deep: .* to themselves"):
        found(f"{server.base_url}/files/{place}")


@pytest.mark.parametrize("place", ["nothing", "nothing/x.parquet", "nothing/*.parquet"])
def test_what_is_not_there_is_said(server, place):
    with pytest.raises(SourceNotFound, match=r"no such file|no file matches"):
        found(f"{server.base_url}/files/{place}")


@pytest.mark.parametrize("place", ["folder", "*.parquet", "x.parquet"])
def test_a_host_that_is_not_there_is_one_sentence(place):
    with pytest.raises(SourceError, match=r"cannot be read: Cannot connect to host 127\.0"):
        found(f"http://127.0.0.1:9/{place}")


def test_a_page_without_links_is_no_folder(server):
    (server.folder / "empty").mkdir()
    with pytest.raises(CorruptFile, match="is a web page, not the data"):
        source.find(f"{server.base_url}/files/empty").open_all()


def test_links_to_elsewhere_are_no_part_of_the_folder():
    at = "http://h/a%20b/m"
    page = "".join(
        f'<A class=x HREF="{href}">' for href in (
            "x.parquet", "./y.parquet#top", "/a%20b/m/z.parquet", "/a b/m/w.parquet",
            "http://h/a%20b/m/v.parquet", "http://other/a%20b/m/n.parquet", "/n.parquet",
            "../n.parquet", "/a%20b/mn/n.parquet", "n.parquet?download", "http://[n", "",
        )
    )  # fmt: skip
    names = [link.removeprefix(f"{at}/") for link in web_folders.links_in(page, at)]
    assert names == [f"{name}.parquet" for name in "xyzwv"]
