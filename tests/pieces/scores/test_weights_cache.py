"""Weights are fetched once, go on where they were cut, and are never taken for others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from coyo_tools.machinery.manifest import sha256_of
from coyo_tools.machinery.traffic import Traffic
from coyo_tools.pieces.scores import weights_cache as cache
from coyo_tools.pieces.scores.base import Weights
from coyo_tools.pieces.scores.weights import HDF5, SAFETENSORS, TORCH
from coyo_tools.words.config import RemoteSettings
from coyo_tools.words.errors import WeightsError
from tests.servers.files import FileServer, breaks, refuses
from tests.servers.models import ModelHub

CONTENT = b"\x89HDF\r\n\x1a\n" + bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class ModelServer(FileServer):
    """Files under /files/, and the same as models of a hub, with or without their sha256."""

    oid: str | None = None
    tokens = 0

    def app(self) -> web.Application:
        app = super().app()
        app.router.add_post("/api/models/{owner}/{repo}/paths-info/main", self._paths_info)
        app.router.add_get("/{owner}/{repo}/resolve/main/{path:.+}", self._file)
        return app

    async def _paths_info(self, request: web.Request) -> web.Response:
        self.tokens += request.headers.get("Authorization") == "Bearer hf_secret"
        (name,) = (await request.json())["paths"]
        path = self.folder / name
        if not path.is_file():
            return web.json_response([])
        entry = {"type": "file", "path": name, "size": path.stat().st_size}
        if self.oid:
            entry["lfs"] = {"oid": self.oid, "size": entry["size"]}
        return web.json_response([entry])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ModelServer]:
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "w.h5").write_bytes(CONTENT)
    with ModelServer(tmp_path / "served") as running:
        yield running


@pytest.fixture
def weights(server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Weights:
    monkeypatch.delenv(cache.OFFLINE, raising=False)
    monkeypatch.setenv("COYO_CACHE", str(tmp_path / "cache"))
    url = f"{server.base_url}/files/w.h5"
    return Weights("model", "w.h5", (HDF5,), "MIT", "nobody", url=url, sha256=SHA256)


def quick(attempts: int = 3) -> Traffic:
    return Traffic(RemoteSettings(attempts=attempts, pause_s=0.01, timeout_s=5))


def test_a_file_that_only_git_names_is_compared_with_that(
    server: ModelServer, weights: Weights
) -> None:
    blob = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()
    path = cache.fetch(replace(weights, sha256=None, git_blob=blob))
    cache.check(replace(weights, sha256=None, git_blob=blob), path)
    path.with_name("w.h5.sha256").unlink()
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsError, match=f"git blob .*, expected {blob[:12]}"):
        cache.check(replace(weights, sha256=None, git_blob=blob), path)
    path.unlink()
    with pytest.raises(WeightsError, match="has git blob"):
        cache.fetch(replace(weights, sha256=None, git_blob="0" * 40))
    assert not path.exists()


def test_fetched_once_with_its_sha256_beside_it(server: ModelServer, weights: Weights) -> None:
    assert cache.at_hand(weights) is None
    path = cache.fetch(weights)
    assert path == cache.cache_folder() / "model" / "w.h5"
    assert path.read_bytes() == CONTENT
    assert cache.fetch(weights) == path
    assert server.bytes_sent <= len(CONTENT) + 1  # and the byte by which the size is asked
    assert path.with_name("w.h5.sha256").read_text() == f"{SHA256}  w.h5\n"
    assert sorted(p.name for p in path.parent.iterdir() if p.name != ".coyo.lock") == [
        "w.h5",
        "w.h5.sha256",
    ]


def test_a_connection_that_breaks_is_continued(server: ModelServer, weights: Weights) -> None:
    server.faults["file"] = [None, breaks(300_000)]
    assert cache.fetch(weights, traffic=quick()).read_bytes() == CONTENT
    assert [start for _, start, _ in server.asked][-1] >= 200_000


def test_another_run_goes_on_where_one_stopped(server: ModelServer, weights: Weights) -> None:
    server.faults["file"] = [None, breaks(300_000), refuses(403)]
    with pytest.raises(WeightsError, match=r"w\.h5: weights cannot be fetched: .*403"):
        cache.fetch(weights, traffic=quick())
    assert cache.at_hand(weights) is None
    server.asked.clear()
    assert cache.fetch(weights, traffic=quick()).read_bytes() == CONTENT
    assert server.asked[-1][1] >= 200_000


def test_a_part_of_an_earlier_version_is_no_part_of_this_one(
    server: ModelServer, weights: Weights
) -> None:
    server.faults["file"] = [None, breaks(300_000), refuses(403)]
    with pytest.raises(WeightsError):
        cache.fetch(weights, traffic=quick())
    other = CONTENT[:8] + bytes(len(CONTENT))
    (server.folder / "w.h5").write_bytes(other)
    newer = replace(weights, sha256=hashlib.sha256(other).hexdigest())
    assert cache.fetch(newer, traffic=quick()).read_bytes() == other


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (CONTENT[:-5], "has sha256 .*, expected"),
        (b"<html>captive portal</html>", "no known format"),
        (b"", "no known format"),
    ],
)
def test_a_wrong_file_is_not_kept(
    server: ModelServer, weights: Weights, content: bytes, said: str
) -> None:
    (server.folder / "w.h5").write_bytes(content)
    with pytest.raises(WeightsError, match=f"cannot be fetched: .*{said}.*--weights model=PATH"):
        cache.fetch(weights, traffic=quick())
    place = cache.place_of(weights)
    assert [p.name for p in place.parent.iterdir()] == [".coyo.lock"]


def test_a_declared_size_is_compared_first(server: ModelServer, weights: Weights) -> None:
    with pytest.raises(WeightsError, match="expected 7"):
        cache.fetch(replace(weights, bytes=7))
    assert server.bytes_sent <= 1


def test_an_absent_file_and_a_silent_server_are_named(
    server: ModelServer, weights: Weights
) -> None:
    absent = replace(weights, url=f"{server.base_url}/files/none.h5")
    with pytest.raises(WeightsError, match=r"none\.h5: weights cannot be fetched: no such file"):
        cache.fetch(absent, traffic=quick())
    nobody = replace(weights, url="http://127.0.0.1:9/w.h5")
    with pytest.raises(WeightsError, match=r"127\.0\.0\.1:9/w\.h5: weights cannot be fetched"):
        cache.fetch(nobody, traffic=quick(1))


@pytest.mark.parametrize("declared", [True, False])
def test_a_file_that_changed_in_the_cache_is_named(weights: Weights, declared: bool) -> None:
    weights = weights if declared else replace(weights, sha256=None)
    path = cache.fetch(weights)
    assert cache.check(weights, path) == SHA256
    path.write_bytes(CONTENT[: len(CONTENT) // 2])
    with pytest.raises(WeightsError, match=r"w\.h5: .*expected .*run: coyo weights fetch model"):
        cache.check(weights, path)


def test_without_any_sha256_the_format_is_all_that_is_looked_at(
    weights: Weights, tmp_path: Path
) -> None:
    path = tmp_path / "own.h5"
    path.write_bytes(CONTENT)
    unknown = replace(weights, sha256=None)
    assert cache.known_sha256(unknown, path) is None
    assert cache.check(unknown, path) == SHA256
    with pytest.raises(WeightsError, match="are HDF5, not safetensors"):
        cache.check(replace(unknown, formats=(SAFETENSORS,)), path)


def test_an_offline_folder_is_all_there_is(
    server: ModelServer, weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.fetch(weights)
    asked = server.requests["file"]
    monkeypatch.setenv(cache.OFFLINE, str(tmp_path / "offline"))
    assert cache.at_hand(weights) is None
    with pytest.raises(WeightsError, match=r"offline: .*model/w\.h5.*nothing is fetched"):
        cache.fetch(weights)
    (tmp_path / "offline" / "model").mkdir(parents=True)
    (tmp_path / "offline" / "model" / "w.h5").write_bytes(CONTENT)
    assert cache.fetch(weights) == tmp_path / "offline" / "model" / "w.h5"
    assert server.requests["file"] == asked


@pytest.fixture
def of_the_hub(server: ModelServer, weights: Weights, monkeypatch: pytest.MonkeyPatch) -> Weights:
    monkeypatch.setenv("HF_ENDPOINT", server.base_url)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    return replace(weights, url="", repository="owner/model", sha256=None)


def test_the_hub_says_what_its_file_should_be(server: ModelServer, of_the_hub: Weights) -> None:
    server.oid = SHA256
    path = cache.fetch(of_the_hub)
    assert sha256_of(path) == SHA256 == cache.known_sha256(of_the_hub, path)
    assert server.tokens == 1
    path.unlink()
    server.oid = "0" * 64
    with pytest.raises(WeightsError, match=r"hub owner/model: .*expected 000000000000"):
        cache.fetch(of_the_hub)


def test_what_the_hub_does_not_have_is_named(of_the_hub: Weights) -> None:
    with pytest.raises(WeightsError, match=r"no such file: none\.h5"):
        cache.fetch(replace(of_the_hub, file="none.h5"))
    with pytest.raises(WeightsError, match="no such repository"):
        cache.fetch(replace(of_the_hub, revision="gone"))


def test_a_file_in_another_programs_cache_is_found(weights: Weights, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.h5"
    theirs.write_bytes(CONTENT)
    assert cache.fetch(replace(weights, url="", also_at=lambda: theirs)) == theirs


FOLDER = {
    "config.json": b'{"a": 1}',
    "model.bin": b"\x80 a pickle of torch, for all one can see",
    "tokenizer_config.json": b"{}",
}


@pytest.fixture
def several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ModelHub, Weights]]:
    """Weights of several files, of which the hub lacks the usual one and one that may be absent."""
    folder = tmp_path / "hub" / "owner" / "name"
    folder.mkdir(parents=True)
    for name, content in FOLDER.items():
        (folder / name).write_bytes(content)
    monkeypatch.delenv(cache.OFFLINE, raising=False)
    monkeypatch.setenv("COYO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "none"))
    with ModelHub(tmp_path / "hub") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.base_url)
        yield (
            server,
            Weights(
                name="model",
                file="model.safetensors",
                otherwise=("model.bin",),
                beside=("config.json",),
                optional=("tokenizer_config.json", "vocab.txt"),
                repository="owner/name",
                formats=(SAFETENSORS, TORCH),
                licence="MIT",
                citation="nobody",
            ),
        )


def test_several_files_are_a_folder(several: tuple[ModelHub, Weights]) -> None:
    server, weights = several
    assert cache.at_hand(weights) is None
    path = cache.fetch(weights, traffic=quick())
    assert path == cache.cache_folder() / "model"
    assert [f.name for f in cache.files_of(weights, path)] == [
        "model.bin",
        "config.json",
        "tokenizer_config.json",
    ]
    assert {n: (path / n).read_bytes() for n in FOLDER} == FOLDER
    asked = server.requests["file"]
    assert cache.fetch(weights) == path
    assert server.requests["file"] == asked
    whole = cache.check(weights, path)
    assert cache.look_at(weights, server.folder / "owner" / "name") == whole  # by content alone
    (path / "config.json").write_bytes(b'{"a": 2}')
    with pytest.raises(WeightsError, match=r"config\.json: is another file than model has"):
        cache.check(weights, path)


def test_a_folder_is_there_when_its_largest_file_is(several: tuple[ModelHub, Weights]) -> None:
    server, weights = several
    (server.folder / "owner" / "name" / "model.bin").rename(server.folder / "gone")
    with pytest.raises(WeightsError, match=r"cannot be fetched: no such file: model\.bin"):
        cache.fetch(weights, traffic=quick())
    assert (cache.cache_folder() / "model" / "config.json").exists()
    assert cache.at_hand(weights) is None


def test_what_a_folder_must_hold_is_named(
    several: tuple[ModelHub, Weights], tmp_path: Path
) -> None:
    server, weights = several
    (server.folder / "owner" / "name" / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"cannot be fetched: no such file: config\.json"):
        cache.fetch(weights, traffic=quick())
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "model.safetensors").write_bytes(b"")
    with pytest.raises(
        WeightsError,
        match=r"own: is no folder with config\.json, model\.safetensors or model\.bin; put the fi",
    ):
        cache.look_at(weights, tmp_path / "own")


def test_a_mirror_of_the_hub_is_named_for_what_is_there(
    weights: Weights, of_the_hub: Weights
) -> None:
    gone = replace(weights, url=weights.url + ".gone")
    with pytest.raises(WeightsError, match=r"fetched: .*; fetch it elsewhere and put it at"):
        cache.fetch(gone)
    with pytest.raises(WeightsError, match="; set HF_ENDPOINT to a mirror, or fetch it elsewhere"):
        cache.fetch(replace(of_the_hub, file="none.h5"))


def test_a_wrong_file_of_the_offline_folder_is_not_said_to_be_fetched(
    weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model" / "w.h5"
    path.parent.mkdir()
    path.write_bytes(CONTENT[:-1])
    monkeypatch.setenv(cache.OFFLINE, str(tmp_path))
    with pytest.raises(WeightsError, match=r"; put the right one there \(http.*, or unset COYO_W"):
        cache.check(weights, path)
    with pytest.raises(WeightsError, match=r"model/w\.h5 is not the right one, and with COYO_WEI"):
        cache.fetch_anew(weights)
