"""Values back into JSON: what a mutation writes, what a message shows.

Enters: a value of an evaluation.
Leaves: dict, list, str, int, float, bool, None. EvaluationError for what JSON has no form for.
Source: the CEL language definition, section JSON Data Conversion.
Next: the caller (admission policies, CRD rules).
"""

from __future__ import annotations

import base64
from typing import Any

from edgekube.api.cel.errors import EvaluationError
from edgekube.api.cel.library.times import duration_text, timestamp_text
from edgekube.api.cel.values import Duration, Optional, Struct, Timestamp, of_key, type_name


def to_json(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool, float)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, list):
        return [to_json(one) for one in value]
    if isinstance(value, Struct):
        raw = getattr(value, "raw", None)
        return raw if raw is not None else {name: to_json(value.get(name)) for name in value.names()}
    if isinstance(value, dict):
        return {_key(key): to_json(one) for key, one in value.items()}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Timestamp):
        return timestamp_text(value)
    if isinstance(value, Duration):
        return duration_text(value)
    if isinstance(value, Optional) and value.present:
        return to_json(value.value)
    raise EvaluationError(f"type conversion error from '{type_name(value)}' to JSON")


def _key(key: Any) -> str:
    key = of_key(key)
    return ("true" if key else "false") if isinstance(key, bool) else str(key)
