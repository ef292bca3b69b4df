"""What mutating policies are written in: objects and JSON patches that an expression makes."""

from __future__ import annotations

from typing import Any

import pytest

from edgekube.api import cel
from edgekube.api.policy.patch_types import CONFIGURATION, OPERATIONS, PatchTypes, misplaced, operation_of, to_json


def environment() -> cel.Environment:
    return cel.Environment({"object": cel.DYN}, cel.MUTATION_LIBRARIES, objects=PatchTypes())


def made(text: str, expected: cel.Type, obj: Any = None) -> Any:
    return environment().compile(text, expected).evaluate({"object": obj or {}})


def test_an_object_is_made_and_becomes_json() -> None:
    text = "Object{metadata: Object.metadata{labels: {'a': 'b'}}, spec: Object.spec{replicas: object.n, paused: true}}"
    value = made(text, CONFIGURATION, {"n": 3})
    assert list(misplaced(value)) == []
    assert to_json(value) == {"metadata": {"labels": {"a": "b"}}, "spec": {"replicas": 3, "paused": True}}


def test_a_sidecar_is_added_as_the_documentation_has_it() -> None:
    text = """
      Object{
        spec: Object.spec{
          initContainers: [
            Object.spec.initContainers{
              name: "mesh-proxy",
              image: "mesh/proxy:v1.0.0",
              args: ["proxy", "sidecar"],
              restartPolicy: "Always"
            }
          ]
        }
      }"""
    value = made(text, CONFIGURATION)
    assert list(misplaced(value)) == []
    container = {"name": "mesh-proxy", "image": "mesh/proxy:v1.0.0", "args": ["proxy", "sidecar"], "restartPolicy": "Always"}
    assert to_json(value) == {"spec": {"initContainers": [container]}}


def test_types_of_parts_must_say_where_they_stand() -> None:
    wrong = 'unexpected type name "Object.status", expected "Object.spec", which matches field name path from root Object type'
    assert list(misplaced(made("Object{spec: Object.status{}}", CONFIGURATION))) == [wrong]


def test_json_patches_are_made() -> None:
    text = (
        "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b~c'), value: 'x'},"
        " JSONPatch{op: 'move', from: '/spec/y', path: '/spec/x'}]"
        " + (object.n > 1 ? [JSONPatch{op: 'test', path: '/n', value: object.n}] : [])"
    )
    assert [operation_of(one) for one in made(text, OPERATIONS, {"n": 2})] == [
        {"op": "add", "path": "/metadata/labels/a~1b~0c", "value": "x"},
        {"op": "move", "from": "/spec/y", "path": "/spec/x"},
        {"op": "test", "path": "/n", "value": 2},
    ]
    with pytest.raises(cel.CompileError, match="undefined field 'foo'"):
        environment().compile("JSONPatch{foo: 1}")


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(cel.EvaluationError, match="is of type int, not string"):
        to_json(made("Object{data: {1: 'a'}}", CONFIGURATION))
