"""Links of a page that was fetched through the API server's proxy, led back through it.

Enters: a page, or one URL of it, and the path under which the proxy serves the page's root.
Leaves: the same with absolute paths of the page's own server put below that path.
Holds: every byte that is no such URL stays (source: k8s.io/apimachinery pkg/util/proxy/transport.go). Pure.
Next: server.proxy.
"""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from typing import Final
from urllib.parse import urlsplit, urlunsplit

#: Which attributes hold a URL (HTML Living Standard, "Attributes"; the deprecated ones that upstream still follows).
_ATTRIBUTES: Final = {
    "a": ("href",),
    "applet": ("codebase",),
    "area": ("href",),
    "audio": ("src",),
    "base": ("href",),
    "blockquote": ("cite",),
    "body": ("background",),
    "button": ("formaction",),
    "del": ("cite",),
    "embed": ("src",),
    "form": ("action",),
    "frame": ("longdesc", "src"),
    "head": ("profile",),
    "html": ("manifest",),
    "iframe": ("longdesc", "src"),
    "img": ("longdesc", "src", "usemap"),
    "input": ("formaction", "src", "usemap"),
    "ins": ("cite",),
    "link": ("href",),
    "object": ("classid", "codebase", "data", "usemap"),
    "q": ("cite",),
    "script": ("src",),
    "source": ("src",),
    "video": ("poster", "src"),
}
_ATTRIBUTE: Final = re.compile(r"""(\s)([^\s=/>"']+)(\s*=\s*)("[^"]*"|'[^']*'|[^\s>"']+)""")


def rewritten_url(url: str, prefix: str, hosts: tuple[str, ...]) -> str:
    """``prefix``: the proxy's path of the page's root, without a slash at its end. ``hosts``: names of the page's own server."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    is_elsewhere = bool(parts.netloc) and parts.netloc not in hosts
    if is_elsewhere or not parts.path.startswith("/"):
        return url
    path = parts.path if parts.path.startswith(f"{prefix}/") or parts.path == prefix else prefix + parts.path
    return urlunsplit(("", "", path, parts.query, parts.fragment))


def rewritten_page(page: str, prefix: str, hosts: tuple[str, ...]) -> str:
    finder = _StartTags()
    try:
        finder.feed(page)
        finder.close()
    except AssertionError:
        # html.parser gives up on a broken marked section ("<![;"); what it found before stands, the rest stays as it is.
        pass
    line_starts = [0, *(match.end() for match in re.finditer("\n", page))]
    pieces, done = [], 0
    for line, column, tag, text in finder.found:
        start = line_starts[line - 1] + column
        pieces += [page[done:start], _rewritten_tag(tag, text, prefix, hosts)]
        done = start + len(text)
    return "".join([*pieces, page[done:]])


class _StartTags(HTMLParser):
    """The start tags that may hold URLs: line, column, name, and the text as it was written."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.found: list[tuple[int, int, str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if any(name in _ATTRIBUTES.get(tag, ()) for name, _ in attrs):
            self.found.append((*self.getpos(), tag, self.get_starttag_text() or ""))


def _rewritten_tag(tag: str, text: str, prefix: str, hosts: tuple[str, ...]) -> str:
    def rewrite(match: re.Match[str]) -> str:
        space, name, equals, value = match.groups()
        if name.lower() not in _ATTRIBUTES[tag]:
            return match.group()
        quote = value[0] if value[0] in "\"'" else ""
        url = html.unescape(value.strip("\"'") if quote else value)
        changed = rewritten_url(url, prefix, hosts)
        if changed == url:
            return match.group()
        return f"{space}{name}{equals}{quote}{html.escape(changed)}{quote}"

    return _ATTRIBUTE.sub(rewrite, text)
