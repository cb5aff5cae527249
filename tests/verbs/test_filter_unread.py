"""Row groups ruled out by statistics: not fetched, told, and nothing kept is different."""

from __future__ import annotations

import pytest

import coyo_tools
from coyo_tools import FilterSettings
from tests.metadata import bytes_of, ids_in, metadata, write_parts
from tests.servers.files import FileServer

NAME = "part-0.parquet"


@pytest.fixture
def sorted_part(tmp_path):
    """3000 rows by watermark_score, 500 a row group."""
    (path,) = write_parts(
        tmp_path / "m", [metadata(3000, 1).sort_by("watermark_score")], row_group_size=500
    )
    return path


RULES = {"min_side": 250, "min_watermark": 0.3, "where": ["num_faces = 0"]}


def test_what_is_kept_is_the_same_and_the_funnel_tells(sorted_part, tmp_path):
    read = FilterSettings(statistics=False)
    whole = coyo_tools.filter(sorted_part.parent, tmp_path / "whole", read, **RULES)
    some = coyo_tools.filter(sorted_part.parent, tmp_path / "some", **RULES)
    assert (some.digest, some.rows_out, some.rows_in) == (whole.digest, whole.rows_out, 3000)
    assert ids_in(tmp_path / "some") == ids_in(tmp_path / "whole")
    first, second, third = some.funnel
    groups = int(second.note.split(" rows in ")[1].split()[0])
    assert 0 < groups < 6
    assert second.note == (
        f"{500 * groups:,} rows in {groups} row groups unread, by statistics, "
        "whatever the rules before it say"
    )
    assert first.note == third.note == f"counted of the {3000 - 500 * groups:,} rows read"
    assert second.dropped_alone == whole.funnel[1].dropped_alone  # it judged them all the same
    assert first.dropped_alone < whole.funnel[0].dropped_alone  # of the rows that were read
    assert third.left == whole.funnel[2].left
    assert not any("unread" in step.note for step in whole.funnel)


def test_a_remote_part_gives_what_a_local_one_does_and_fetches_less(sorted_part, tmp_path):
    coyo_tools.filter(sorted_part.parent, tmp_path / "here", **RULES)
    read = FilterSettings(statistics=False)
    with FileServer(sorted_part.parent) as server:
        place = f"{server.base_url}/files/{NAME}"
        some = coyo_tools.filter(place, tmp_path / "there", **RULES)
        whole = coyo_tools.filter(place, tmp_path / "whole", read, **RULES)
    assert (tmp_path / "there" / NAME).read_bytes() == (tmp_path / "here" / NAME).read_bytes()
    assert some.fetched.bytes < 0.9 * whole.fetched.bytes


def test_a_bound_beyond_everything_fetches_the_footer_alone(sorted_part, tmp_path):
    with FileServer(sorted_part.parent) as server:
        place = f"{server.base_url}/files/{NAME}"
        none = coyo_tools.filter(place, tmp_path / "s", where=["id < 0"])
        looked = coyo_tools.inspect(place)
    assert (none.rows_in, none.rows_out) == (3000, 0)
    assert none.fetched.bytes == looked.fetched.bytes
    assert none.funnel[0].dropped == 3000
    assert none.funnel[0].note == "3,000 rows in 6 row groups unread, by statistics"


def test_a_continued_run_tells_the_same(sorted_part, tmp_path):
    write_parts(tmp_path / "m", [metadata(3000, n).sort_by("watermark_score") for n in (1, 2)])
    coyo_tools.filter(tmp_path / "m", tmp_path / "s", min_watermark=0.3)
    before = bytes_of(tmp_path / "s")
    (tmp_path / "s" / "part-1.parquet").unlink()
    coyo_tools.filter(tmp_path / "m", tmp_path / "s", min_watermark=0.3)
    assert bytes_of(tmp_path / "s") == before


@pytest.mark.parametrize("columns", [None, ("url",)])
@pytest.mark.parametrize("rules", [{"top": 100, "by": "aesthetic_score_laion_v2"}, {"sample": 50}])
def test_selections_after_a_rule_that_rules_out(sorted_part, tmp_path, columns, rules):
    results = [
        coyo_tools.filter(
            sorted_part.parent,
            tmp_path / f"{statistics}",
            FilterSettings(statistics=statistics, columns=columns),
            min_watermark=0.3,
            **rules,
        )
        for statistics in (True, False)
    ]
    assert results[0].digest == results[1].digest
    assert results[0].rows_out == results[1].rows_out == next(iter(rules.values()))


def test_a_rule_that_drops_nothing_of_what_is_read_is_named_so(sorted_part, tmp_path):
    told = coyo_tools.filter(sorted_part.parent, tmp_path / "s", max_faces=9999, min_watermark=0.3)
    assert told.funnel[0].note.startswith("drops nothing of the ")
    assert told.funnel[0].note.endswith(" rows read")


def test_a_plan_asks_several_rules_and_spares_itself_one(sorted_part, tmp_path):
    place, read = sorted_part.parent, FilterSettings(statistics=False)
    whole = coyo_tools.filter(place, tmp_path / "whole", read, **RULES)
    assert tuple(each.step for each in coyo_tools.plan(place, **RULES).funnel) == whole.funnel
    some = coyo_tools.filter(place, tmp_path / "some", min_watermark=0.3)
    assert "unread" in some.funnel[0].note
    assert coyo_tools.plan(place, min_watermark=0.3).funnel[0].step == some.funnel[0]
