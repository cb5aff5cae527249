"""Which model --model and --pretrained choose for which column."""

from __future__ import annotations

import pytest

from coyo_tools.pieces.scores import score_of
from coyo_tools.pieces.scores.base import IMAGE, Score, ScoreColumn
from coyo_tools.pieces.scores.families import Choice, Family, choices_of, column_name, slug
from coyo_tools.words.errors import SettingsError


def family(*stems: str, takes_pretrained: bool = False) -> Family:
    columns = tuple(ScoreColumn(stem, "float32", "m") for stem in stems)
    like = Score(stems[0], columns, (IMAGE,), "model", "MIT", lambda _: None)  # type: ignore[arg-type,return-value]
    return Family(stems, like, "any", lambda _: like, (), takes_pretrained=takes_pretrained)


CLIP, LABELS = family("clip", takes_pretrained=True), family("labels", "probs")
BOTH = (CLIP, LABELS)


def test_names_as_a_columns() -> None:
    assert slug("ViT-B-16", "datacomp_xl_s13b_b90k") == "vit_b_16_datacomp_xl_s13b_b90k"
    assert slug("google/vit-base-patch16-224") == "google_vit_base_patch16_224"
    assert column_name("labels", Choice("a/b.c")) == "labels_a_b_c"


def test_one_family_needs_no_column() -> None:
    assert choices_of(BOTH, ["clip"], ["m"], ["t"]) == {"clip": [Choice("m", "t")]}
    found = choices_of(BOTH, ["labels", "probs"], ["m"], [])
    assert found == {"labels": [Choice("m")], "probs": [Choice("m")]}
    assert choices_of(BOTH, ["other"], [], []) == {}
    assert choices_of(BOTH, ["clip"], [], []) == {"clip": []}


def test_several_models_of_a_column_in_order() -> None:
    found = choices_of(BOTH, ["clip"], ["m", "n", "m"], ["t", "u", "t"])
    assert found == {"clip": [Choice("m", "t"), Choice("n", "u")]}


def test_several_families_want_the_column() -> None:
    found = choices_of(BOTH, ["clip", "probs"], ["clip=m", "probs=n"], ["t"])
    assert found["clip"] == [Choice("m", "t")]
    assert found["probs"] == found["labels"] == [Choice("n")]
    with pytest.raises(
        SettingsError, match=r"'m' could be for clip or labels; write --model clip=m"
    ):
        choices_of(BOTH, ["clip", "probs"], ["m"], [])


@pytest.mark.parametrize(
    ("columns", "model", "pretrained", "said"),
    [
        (["word_count"], ["m"], [], "'m' is for no column of this run; leave it out"),
        (["labels"], ["m"], ["t"], "--pretrained: 't' is for no column of this run"),
        (["clip"], ["labels=m"], [], "is for no column of this run; those that take one are clip"),
        (["clip"], ["clip="], [], "is for no column of this run"),
        (["clip"], ["m", "n"], ["t"], "1 for 2 --model of clip; name one for each"),
        (["clip"], [], ["t"], "1 for 0 --model of clip"),
    ],
)
def test_what_is_refused(
    columns: list[str], model: list[str], pretrained: list[str], said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        choices_of(BOTH, columns, model, pretrained)


def test_a_chosen_models_column_is_described_without_looking_it_up() -> None:
    found = score_of("clip_similarity_some_model")
    assert found is not None
    assert found.needs_image
    assert [column.name for column in found.columns] == ["clip_similarity_some_model"]
    assert score_of("clip_similarity_vitb32") != found
    assert score_of("clip_similarityless") is None
