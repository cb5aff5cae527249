"""`weights`: what is known of every file; and what is here, fetched and wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import coyo_tools
from coyo_tools.cli import main
from coyo_tools.pieces.scores import weights_cache
from coyo_tools.pieces.scores.weights_files import LAION_AESTHETICS_V2
from coyo_tools.words.errors import SettingsError, WeightsError

NSFW, HEAD = "nsfw_score_opennsfw2", "aesthetic_score_laion_v2"


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(weights_cache.OFFLINE, str(tmp_path))
    return tmp_path


def put(offline: Path, name: str, file: str, data: bytes) -> None:
    (offline / name).mkdir(exist_ok=True)
    (offline / name / file).write_bytes(data)


def test_every_file_says_what_it_is() -> None:
    found = coyo_tools.weights()
    assert len({each.name for each in found}) == len(found)
    for each in found:
        assert all((each.source, each.licence, each.citation, each.file, each.columns))
        assert each.state == "absent"
    (clip,) = coyo_tools.weights(["clip_similarity_vitl14"])
    assert clip.columns == ("clip_similarity_vitl14", HEAD, "nsfw_score_laion_clip")
    assert clip.revision
    unknown = {each.name for each in found if not (each.sha256 or each.git_blob)}
    assert unknown == {"align_similarity", "vit_labels"}  # folders: of the hub's own sha256


def test_what_is_here_is_told_from_what_is_wrong(offline: Path) -> None:
    put(offline, NSFW, "open_nsfw_weights.h5", b"\x89HDF\r\n\x1a\n and so on")
    put(offline, HEAD, LAION_AESTHETICS_V2.file, b"PK\x03\x04 cut")
    states = {each.name: each.state for each in coyo_tools.verify_weights([NSFW, HEAD])}
    assert states == {NSFW: "wrong", HEAD: "wrong"}
    assert {each.state for each in coyo_tools.weights([NSFW, HEAD])} == {"here"}
    with pytest.raises(WeightsError, match=f"{HEAD}/.* is not the right one, and .* nothing is f"):
        coyo_tools.fetch_weights([HEAD])


def test_a_whole_file_of_unknown_digest_is_not_called_right(offline: Path) -> None:
    for file in ("config.json", "preprocessor_config.json"):
        put(offline, "align_similarity", file, b"{}")
    put(offline, "align_similarity", "model.safetensors", b"\x02" + bytes(7) + b"{}")
    (found,) = coyo_tools.verify_weights(["align_similarity"])
    assert (found.state, found.sha256) == ("not known", None)


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match=f"did you mean '{NSFW}'"):
        coyo_tools.weights(["nsfw_score_opennsfw"])
    with pytest.raises(SettingsError, match=r"chosen for it; name .* clip_similarity_vit_b_16_"):
        coyo_tools.weights(["clip_similarity"])
    with pytest.raises(SettingsError, match="no weights named"):
        coyo_tools.fetch_weights([])


def test_verify_ends_with_1_where_one_is_wrong(
    offline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(offline, HEAD, LAION_AESTHETICS_V2.file, b"PK\x03\x04 cut")
    with pytest.raises(SystemExit) as ended:
        main(["weights", "verify", HEAD, "--json"])
    told = capsys.readouterr()
    assert ended.value.code == 1
    (state,) = json.loads(told.out)
    assert (state["name"], state["state"]) == (HEAD, "wrong")
    assert "; put the right one there (https://" in told.err
    assert state["todo"] in told.err


def test_the_list_names_size_sha256_and_licence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["weights", "list"])
    out = capsys.readouterr().out
    assert "3.7 MB   21dd590f3ccd   Apache-2.0" in out
    assert "not known" in out
