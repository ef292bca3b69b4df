"""What fieldValidation says: fields that a type does not have, and fields that a text gives twice, in upstream's order and words.

Enters: unknown fields (api.strict), repeated ones (api.decode).
Leaves: messages, one for each Warning header; or the one text of a strict error.
Holds: pure. Of JSON both kinds come in the order of the text, and what an unknown field repeats is not told again; of YAML,
of patches and for custom kinds the repeated ones come first.
Bound: limits.STRICT_MESSAGES_MAX.
Source: sigs.k8s.io/json; k8s.io/apimachinery pkg/runtime (strict decoding errors).
Next: registry.checks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from edgekube import limits
from edgekube.api.decode import Repeated

_STEPS: Final = re.compile(r"[.\[]")


def _unknown(paths: Iterable[str]) -> list[str]:
    return [f'unknown field "{path}"' for path in islice(paths, limits.STRICT_MESSAGES_MAX)]


def _sorted(paths: Iterable[str]) -> list[str]:
    """As a decoder meets the fields of a text whose keys are sorted."""
    return sorted(paths, key=lambda path: [_rank(step.rstrip("]")) for step in _STEPS.split(path)])


def _rank(step: str) -> tuple[int, str]:
    return (int(step), "") if step.isdecimal() else (0, step)


def messages(unknown: Sequence[str], repeated: Sequence[str], *, apart: bool = False) -> list[str]:
    """``apart``: what is repeated was found in another text than what is unknown."""
    if not repeated:
        return _unknown(_sorted(unknown) if apart else unknown)
    if apart or not isinstance(repeated, Repeated) or repeated.lines:
        return [*repeated, *_unknown(_sorted(unknown))][: limits.STRICT_MESSAGES_MAX]
    places = repeated.places
    found = [(places.get(path, 0), f'unknown field "{path}"') for path in unknown]
    hidden = set(unknown)
    for message in repeated:
        path = message.partition('"')[2].rstrip('"')
        if not any(path[: len(other)] == other and path[len(other) : len(other) + 1] in ("", ".", "[") for other in hidden):
            found.append((places.get(message, 0), message))
    return [message for _, message in sorted(found, key=lambda each: each[0])][: limits.STRICT_MESSAGES_MAX]


def error(found: Sequence[str], repeated: Sequence[str]) -> str:
    """All of it in one text. What YAML repeats is one error of its reader."""
    if isinstance(repeated, Repeated) and repeated.lines and repeated:
        lines = "".join(f"\n  {line}" for line in found if line in repeated)
        others = [message for message in found if message not in repeated]
        return f"strict decoding error: {', '.join(['yaml: unmarshal errors:' + lines, *others])}"
    return f"strict decoding error: {', '.join(found)}"
