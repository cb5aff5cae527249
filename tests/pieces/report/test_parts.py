from coyo_tools.pieces.report.part_shards import outcomes
from coyo_tools.pieces.report.views import Output, ShardsView


def test_messages_without_end_are_summed_up() -> None:
    errors = {f"<b>message {n}": n for n in range(1, 101)}
    view = ShardsView(Output("x", "download", None), 6000, 950, errors, (), {}, {}, "")
    drawn = outcomes(view)
    assert drawn.count("<tr>") == 1 + 1 + 40 + 1
    assert "<b>" not in drawn
    assert "60 other messages" in drawn
    assert f"<td>{sum(range(1, 61)):,}</td>" in drawn


def test_the_most_frequent_outcome_comes_first_and_ties_by_name() -> None:
    errors = {"timeout": 2, "http_404": 5, "dns": 2}
    drawn = outcomes(ShardsView(Output("x", "download", None), 10, 1, errors, (), {}, {}, ""))
    places = [
        drawn.index(f"<bdi>{name}</bdi>") for name in ("success", "http_404", "dns", "timeout")
    ]
    assert places == sorted(places)
