"""jsonpatch.escapeKey: a key as part of a JSON pointer. Only MutatingAdmissionPolicies have it.

Enters: text.
Leaves: text with ~ and / escaped.
Source: RFC 6901; Kubernetes' CEL jsonpatch library.
Next: api.policy.patch_types.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from edgekube.api.cel.errors import no_such_overload

DECLARATIONS: Final = "string_jsonpatch_escapeKey_string jsonpatch.escapeKey(string) -> string"


def _escape(key: Any) -> str:
    if type(key) is not str:
        raise no_such_overload()
    return key.replace("~", "~0").replace("/", "~1")


IMPLEMENTATIONS: Final[dict[str, Callable[..., Any]]] = {"jsonpatch.escapeKey": _escape}
