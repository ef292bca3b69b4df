"""Image references as containerd spells them. Pure.

Enters: what a person wrote after ``image:`` or put into an archive.
Leaves: the full name, docker.io/library/busybox:latest for busybox.
Holds: normalising twice changes nothing.
Next: containerd.image_store.
"""

from __future__ import annotations

import re
from typing import Final

# Grammar: github.com/distribution/reference, reference.go.
_HOST: Final = r"(?:\[[0-9a-fA-F:]+\]|[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?)(?::[0-9]+)?"
_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_FULL: Final = re.compile(
    rf"(?P<host>{_HOST})/(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>[a-z0-9+.-]+:[0-9a-fA-F]{32,}))?"
)
_NAME_BYTES_MAX: Final = 255


def normalize(reference: str) -> str:
    """The full name: registry, path and tag (``latest`` when neither tag nor digest is given). Raises ValueError."""
    first, slash, rest = reference.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        host, path = ("docker.io" if first == "index.docker.io" else first), rest
    else:
        host, path = "docker.io", reference
    if host == "docker.io" and "/" not in path:
        path = f"library/{path}"
    full = f"{host}/{path}"
    match = _FULL.fullmatch(full)
    if match is None or len(match["host"]) + 1 + len(match["path"]) > _NAME_BYTES_MAX:
        raise ValueError(f"{reference!r} is not an image reference")
    return full if match["tag"] or match["digest"] else f"{full}:latest"
