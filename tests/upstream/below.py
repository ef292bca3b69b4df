"""Questions about what is below an object, about its end, and about what may enter: one by one, as talks/below.yaml has them."""

from __future__ import annotations

from collections.abc import Iterator
from re import Pattern

import yaml

from tests.upstream.asking import Request
from tests.upstream.questions import TALKS, Pair, Question


def below(pair: Pair, kinds: Pattern[str], version: str) -> Iterator[Question]:
    for method, path, *more in yaml.safe_load((TALKS / "below.yaml").read_text()):
        body = more[0] if more else None
        content_type = more[1] if len(more) > 1 else "application/json"
        about = f"{method} {path.partition('/namespaces/')[2] or path} {str(body)[:90] if body else ''}"
        yield pair.ask(about, "below", Request(method, path, body, content_type))
