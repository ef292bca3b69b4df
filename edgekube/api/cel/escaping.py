"""Names of properties as CEL can write them, and back.

Enters: a property's name: ``foo-bar``, ``namespace``.
Leaves: its name in expressions (``foo__dash__bar``, ``__namespace__``), or None when it cannot be reached.
Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/.
Next: api.cel.schema_types.
"""

from __future__ import annotations

import re
from typing import Final

_RESERVED: Final = frozenset(
    re.findall(
        r"\w+",
        "true false null in as break const continue else for function if import let loop package namespace return var void while",
    )
)
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*", re.ASCII)
_ESCAPED: Final = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}


def escape(name: str) -> str | None:
    if _PLAIN.fullmatch(name) is None:
        return None
    if name in _RESERVED:
        return f"__{name}__"
    return re.sub(r"__|[./-]", lambda match: _ESCAPED[match.group()], name)


def written_as(name: str) -> tuple[str, ...]:
    """All ways to write a property's name; a reserved word may also stand as it is after a dot, since v1.33."""
    escaped = escape(name)
    if escaped is None:
        return ()
    return (escaped, name) if name in _RESERVED else (escaped,)


def unescape(name: str) -> str:
    """The name that was escaped so."""
    if name.startswith("__") and name.endswith("__") and name[2:-2] in _RESERVED:
        return name[2:-2]
    back = {written: plain for plain, written in _ESCAPED.items()}
    return re.sub("|".join(back), lambda match: back[match.group()], name)
