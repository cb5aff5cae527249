from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from coyo_tools.pieces.report.markup import Html, from_the_web, join, plain, table, tag, text

ANYTHING = st.text(st.characters(codec=None), max_size=60)


class Seen(HTMLParser):
    """What a parser makes of markup: tags with attributes, and text."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(ANYTHING)
def test_text_is_only_ever_text(words: str) -> None:
    seen = Seen(tag("p", words))
    assert [name for name, _ in seen.tags] == ["p"]
    assert seen.text == plain(words)


@given(ANYTHING)
def test_an_attribute_stays_inside_its_quotes(words: str) -> None:
    seen = Seen(tag("img", alt=words, src="data:,"))
    assert len(seen.tags) == 1
    assert set(seen.tags[0][1]) == {"alt", "src"}


@given(ANYTHING)
def test_every_page_text_can_be_written_as_utf8(words: str) -> None:
    tag("p", words, title=words).encode("utf-8")


def test_attributes_lose_what_reorders_text_and_elements_isolate_it() -> None:
    assert tag("i", title="\u202egnp\u2066") == '<i title="gnp"></i>'
    assert from_the_web("\u202egnp") == "<bdi>\u202egnp</bdi>"


def test_control_characters_become_visible() -> None:
    assert plain("a\x00b\x1b[31m\ud800\n") == "a\ufffdb\ufffd[31m\ufffd\n"


def test_markup_is_taken_as_it_is_and_text_is_not() -> None:
    assert join([Html("<b>"), "<b>", None, 3]) == "<b>&lt;b&gt;3"
    assert text(text("<")) == "&lt;"


def test_attribute_names_and_bare_attributes() -> None:
    assert tag("a", class_="x", aria_label="y", hidden=True, id=None, open=False) == (
        '<a class="x" aria-label="y" hidden></a>'
    )


def test_a_table_has_a_caption_and_a_header_in_each_row() -> None:
    seen = Seen(table("Counts", ["a", "b"], [["x", "1"], ["y", "2"]]))
    names = [name for name, _ in seen.tags]
    assert names.count("caption") == 1
    assert [a for n, a in seen.tags if n == "th"].count({"scope": "row"}) == 2
    assert names.count("td") == 2
