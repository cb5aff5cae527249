from __future__ import annotations

from coyo_tools.pieces.blocklist import parse

TEXT = """# what we never store
example.org
*.Ads.example.com
https://cdn.example.net/a.jpg?x=1

AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
ffd1a2b3c4d50617
"""


def test_each_kind_of_line_is_read():
    found = parse(TEXT)
    assert found.hosts == {"example.org", "ads.example.com"}
    assert found.urls == {"https://cdn.example.net/a.jpg?x=1"}
    assert found.sha256 == {"a" * 64}
    assert found.phashes == {"ffd1a2b3c4d50617"}


def test_a_host_blocks_its_subdomains_and_no_lookalike():
    found = parse(TEXT)
    assert found.has_host("example.org")
    assert found.has_host("IMG.a.Example.ORG.")
    assert not found.has_host("notexample.org")
    assert not found.has_host("org")


def test_a_url_is_blocked_exactly():
    found = parse(TEXT)
    assert found.has_url("https://cdn.example.net/a.jpg?x=1")
    assert not found.has_url("https://cdn.example.net/a.jpg")
