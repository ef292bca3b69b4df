"""Which URLs of a page are led back through the proxy, and that nothing else changes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.server.proxied_html import rewritten_page, rewritten_url

ROOT = "/api/v1/namespaces/default/pods/p:80/proxy"
HOSTS = ("10.42.0.7:80", "cluster:6443")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/a", f"{ROOT}/a"),
        ("/a/?b=c#d", f"{ROOT}/a/?b=c#d"),
        ("/", f"{ROOT}/"),
        ("http://10.42.0.7:80/a", f"{ROOT}/a"),
        ("//cluster:6443/a", f"{ROOT}/a"),
        (f"{ROOT}/a", f"{ROOT}/a"),
        ("a/b", "a/b"),
        ("?b", "?b"),
        ("#d", "#d"),
        ("http://example.com/a", "http://example.com/a"),
        ("mailto:a@example.com", "mailto:a@example.com"),
        ("http://[broken/a", "http://[broken/a"),
    ],
)
def test_urls(url: str, expected: str) -> None:
    assert rewritten_url(url, ROOT, HOSTS) == expected


def test_a_page() -> None:
    page = """<!doctype html>
<p>&lt;a href="/no"> &nbsp <A class=x HREF='/yes?a=1&amp;b=2' target=_new>/text</A>
<img alt="/no" src=/logo.png> <script>var a = '<a href="/no">'</script><br/><a name="/no">
<!-- <a href="/no"> --><form action="/form" data-action="/no"></form>"""
    assert (
        rewritten_page(page, "/x", HOSTS)
        == """<!doctype html>
<p>&lt;a href="/no"> &nbsp <A class=x HREF='/x/yes?a=1&amp;b=2' target=_new>/text</A>
<img alt="/no" src=/x/logo.png> <script>var a = '<a href="/no">'</script><br/><a name="/no">
<!-- <a href="/no"> --><form action="/x/form" data-action="/no"></form>"""
    )


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from(list("<>a/ ='\"\n&;!-hrefb\r\x0c]["))))
def test_a_page_whose_links_are_in_place_stays(text: str) -> None:
    assert rewritten_page(text, "", HOSTS) == text
