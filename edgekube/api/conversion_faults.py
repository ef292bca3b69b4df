"""What upstream says of a strategic merge patch that gives a field a value of the wrong type.

Enters: why a JSON decoder would refuse the value.
Leaves: the same fault in the words of the converter that upstream takes for these patches; other faults as they are.
Holds: pure.
Source: k8s.io/apimachinery pkg/runtime/converter.go (fromUnstructured).
Next: registry.checks.
"""

from __future__ import annotations

import re
from typing import Final

_MISFIT: Final = re.compile(r"json: cannot unmarshal (\w+)(?: ([-+.\deE]+))? into Go .* of type (\S+)")
#: JSON's names of types, and Go's kinds of what is decoded from them.
_KINDS: Final = {"string": "string", "number": "int64", "bool": "bool", "array": "slice", "object": "map"}
#: Kinds that Go can convert into one another, though JSON does not know how.
_NUMBERS: Final = ("int", "uint", "float")


def told(why: str) -> str:
    misfit = _MISFIT.fullmatch(why)
    if misfit is None or misfit[1] not in _KINDS:
        return why
    given, wanted = _KINDS[misfit[1]], misfit[3].lstrip("*")
    if misfit[2]:  # it is told where it is no whole number
        given = "float64"
    if wanted.startswith("[]"):
        return f"cannot restore slice from {given}"
    if wanted.startswith("map["):
        return f"cannot restore map from {given}"
    if "." in wanted:
        return f"cannot restore struct from: {given}"
    is_number = wanted.startswith(_NUMBERS)
    if (given == "int64" and wanted == "string") or (given in ("int64", "float64") and is_number):
        return f"cannot convert {given} to {wanted}"
    return f"unrecognized type: {wanted}"
