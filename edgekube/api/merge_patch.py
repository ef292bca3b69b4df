"""JSON merge patch.

Enters: a document and a patch, both ours to change.
Leaves: the document, changed in place.
Source: RFC 7386.
Next: api.patch.
"""

from __future__ import annotations

from typing import Any

from edgekube.api.objects import Object


def merged(document: Any, patch: Any) -> Any:
    """The patched document. Objects merge, null removes, anything else replaces."""
    if type(patch) is not dict:
        return patch
    target: Object = document if type(document) is dict else {}
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif type(value) is dict:
            target[key] = merged(target.get(key), value)
        else:
            target[key] = value
    return target
