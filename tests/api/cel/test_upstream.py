"""Some 680 expressions, with what upstream's own code (Kubernetes v1.36 with cel-go) says of each.

The table has for each the report of what is wrong with it, or its value and cost, or its error, and the estimate of its cost.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgekube.api import cel
from edgekube.api.cel.declarations import parse_type
from edgekube.api.cel.library.numbers import double_text
from edgekube.api.cel.library.times import timestamp_text
from edgekube.api.cel.values import TypeValue, is_map, of_key, type_name

TABLE = json.loads(Path(__file__).with_name("upstream.json").read_text())
ENVIRONMENT = cel.Environment({name: parse_type(text) for name, text in TABLE["types"].items()})


def shown(value: Any) -> Any:
    """A value with its type, in the table's form."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "b:true" if value else "b:false"
    if isinstance(value, int):
        return f"{'u' if isinstance(value, cel.Uint) else 'i'}:{int(value)}"
    if isinstance(value, float):
        return f"d:{double_text(value)}"
    if isinstance(value, str):
        return f"s:{value}"
    if isinstance(value, bytes):
        return f"y:{value.hex()}"
    if isinstance(value, cel.Duration):
        return f"D:{value.nanoseconds}"
    if isinstance(value, cel.Timestamp):
        return f"t:{timestamp_text(value)}"
    if isinstance(value, cel.Optional):
        return ["opt", shown(value.value)] if value.present else "opt:none"
    if isinstance(value, TypeValue):
        return f"T:{value.name}"
    if isinstance(value, list):
        return ["list", *map(shown, value)]
    if is_map(value):
        return ["map", *sorted([shown(of_key(key)), shown(value.get(key))] for key in value)]
    return f"?{type_name(value)}"


@pytest.mark.parametrize("part", range(4))
def test_upstream_says_the_same(part: int) -> None:
    cases = TABLE["cases"]
    assert len(cases) > 670
    for case in cases[part::4]:
        text = case["expr"]
        if "compile" in case:
            with pytest.raises(cel.CompileError) as wrong:
                ENVIRONMENT.compile(text)
            assert str(wrong.value) == case["compile"], text
            continue
        program = ENVIRONMENT.compile(text)
        if "error" in case:
            with pytest.raises(cel.EvaluationError) as failed:
                program.evaluate(TABLE["values"])
            assert str(failed.value) == case["error"], text
            continue
        value, cost = program.evaluate_costing(TABLE["values"])
        assert shown(value) == case["value"], text
        assert cost == case["cost"], text
        assert list(program.estimate()) == case["estimate"], text
