from __future__ import annotations

import pytest

from coyo_tools.pieces.blocklist import parse
from coyo_tools.words.errors import SourceError

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


def test_a_url_is_blocked_with_its_query():
    found = parse(TEXT)
    assert found.has_url("https://cdn.example.net/a.jpg?x=1")
    assert not found.has_url("https://cdn.example.net/a.jpg")


@pytest.mark.parametrize(
    "listed", ["xn--bcher-kva.test", "bücher.test", "BÜCHER.test.", "*.bücher.test"]
)
@pytest.mark.parametrize(
    "host", ["bücher.test", "a.xn--bcher-kva.test", "Bücher.Test.", "XN--BCHER-KVA.test"]
)
def test_a_host_is_blocked_in_each_of_its_spellings(listed, host):
    assert parse(listed).has_host(host)


@pytest.mark.parametrize(
    ("listed", "host"),
    [
        ("127.0.0.77  # bad host", "127.0.0.77"),
        ("[2001:DB8::1]", "2001:db8::1"),
        ("2001:db8:0::1", "2001:db8::1"),
        ("bad_host.test\t#x", "bad_host.test"),
    ],
)
def test_addresses_and_comments(listed, host):
    assert parse(listed).has_host(host)


@pytest.mark.parametrize(
    ("listed", "url"),
    [
        ("http://a.test/x.jpg", " http://a.test/x.jpg "),
        ("http://a.test:80/x.jpg", "http://A.test./x.jpg"),
        ("http://bücher.test/ü.jpg", "http://xn--bcher-kva.test/%C3%BC.jpg"),
        ("http://a.test/%7Ejoe.jpg#top  # his", "http://a.test/~joe.jpg"),
        ("http://a.test/a.jpg#top", "http://a.test/a.jpg"),
    ],
)
def test_a_url_is_blocked_in_each_of_its_spellings(listed, url):
    assert parse(listed).has_url(url)


@pytest.mark.parametrize(
    "entry",
    ["0.0.0.0 bad.test", "a.test, b.test", "a..test", "a.test/x.jpg", "a.test:80", "http://", "ftp://a.test/x",
     "http://[::1", "http://a b/"],
)  # fmt: skip
def test_what_is_no_entry_is_refused_with_its_line(entry):
    with pytest.raises(SourceError, match=r"list\.txt, line 3") as caught:
        parse(f"# one\na.test\n{entry}\n", "list.txt")
    assert entry in str(caught.value)
