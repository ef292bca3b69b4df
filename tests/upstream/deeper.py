"""Patches of fields that kinds have of their own, below the resource too.

Enters: deeper.yaml beside this file.
Leaves: objects to begin with, each with its patches in a row.
Next: tests.upstream.patching.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

_TYPES: Final = {
    "apply": "application/apply-patch+yaml",
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}


@dataclass(frozen=True)
class Patch:
    subresource: str
    content_type: str
    body: Any
    query: str


def deeper_rows() -> Iterator[tuple[dict[str, Any], list[Patch]]]:
    for document in yaml.safe_load_all(Path(__file__).with_suffix(".yaml").read_text()):
        yield document["object"], [_patch(each) for each in document["patches"]]


def _patch(said: dict[str, Any]) -> Patch:
    body = said["text"].encode() if "text" in said else said["body"]
    if said["type"] == "apply":
        body = yaml.safe_dump(body).encode()
    query = f"fieldManager={said.get('as', 'mine')}"
    return Patch(said.get("below", ""), _TYPES[said["type"]], body, f"{query}&{said['query']}" if "query" in said else query)
