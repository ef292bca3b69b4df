"""The tables as kubectl -o wide shows them are in golden/tables.txt; EDGEKUBE_WRITE_GOLDEN=1 writes it anew, to be read."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.api import schemas, strict
from edgekube.api.errors import StatusError
from edgekube.api.kinds import BUILT_IN, KINDS, POD, Kind
from edgekube.api.objects import Object
from edgekube.api.tables import cells_of, columns_of, row_conditions_of
from tests.api.samples import full_pod
from tests.api.table_samples import MADE, NOW, PODS, SAMPLES, made

GOLDEN = Path(__file__).parent / "golden" / "tables.txt"
SCALE = Kind("autoscaling", "v1", "Scale", "scales")


def kind_of(api_version: str, name: str) -> Kind:
    kind = KINDS.by_kind(api_version, name)
    assert kind is not None
    return kind


def shown(kind: Kind, objects: list[Object]) -> str:
    """As kubectl lays it out: columns padded, three spaces between them."""
    rows = [[column.name.upper() for column in columns_of(kind)]]
    rows += [[str(cell) for cell in cells_of(kind, obj, NOW)] for obj in objects]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def test_tables_are_what_kubectl_users_know() -> None:
    parts = [
        f"# {api_version} {name}\n{shown(kind_of(api_version, name), held)}\n" for (api_version, name), held in SAMPLES.items()
    ]
    text = "\n".join(parts)
    if os.environ.get("EDGEKUBE_WRITE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_every_stored_kind_has_a_sample() -> None:
    stored = {(kind.api_version, kind.kind) for kind in BUILT_IN if kind.stored}
    assert stored == SAMPLES.keys()


@pytest.mark.parametrize("kind", BUILT_IN, ids=lambda kind: f"{kind.api_version}/{kind.kind}")
def test_an_empty_object_has_a_full_row(kind: Kind) -> None:
    columns = columns_of(kind)
    assert len(cells_of(kind, {}, NOW)) == len(columns)
    assert all(column.description and column.type in ("string", "integer", "boolean", "date") for column in columns)
    assert sum(column.format == "name" for column in columns if column.name == "Name") == 1


@pytest.mark.parametrize(("api_version", "name"), SAMPLES)
def test_samples_fit_their_schema(api_version: str, name: str) -> None:
    for obj in SAMPLES[api_version, name]:
        copied = {**obj}
        assert strict.check(kind_of(api_version, name), copied).unknown == ()


def test_columns_are_written_as_clients_read_them() -> None:
    assert columns_of(POD)[0].as_object() == {
        "name": "Name",
        "type": "string",
        "format": "name",
        "description": "Name of the object, unique in its namespace.",
        "priority": 0,
    }
    assert [column.name for column in columns_of(POD) if column.priority] == ["IP", "Node", "Nominated Node", "Readiness Gates"]


def test_a_pod_as_the_cluster_holds_it() -> None:
    assert cells_of(POD, full_pod(), NOW) == [
        "web-7d9f8c6b5-abcde", "2/2", "Running", "0", "60m", "10.42.0.7", "pi-1", "<none>", "<none>",
    ]  # fmt: skip


def test_kinds_without_a_table_show_name_and_creation() -> None:
    gadget = Kind("example.com", "v1", "Gadget", "gadgets", custom=True)
    assert [column.name for column in columns_of(gadget)] == ["Name", "Age"]
    assert cells_of(gadget, made("a"), NOW) == ["a", "60m"]
    role = kind_of("rbac.authorization.k8s.io/v1", "Role")
    assert [column.name for column in columns_of(role)] == ["Name", "Created At"]
    assert cells_of(role, made("a"), NOW) == ["a", MADE]


def test_a_scale_has_a_table_too() -> None:
    assert cells_of(SCALE, made("web", spec={"replicas": 3}, status={"replicas": 2}), NOW) == ["web", 3, 2, "60m"]


def test_finished_pods_are_marked() -> None:
    marked = {pod["metadata"]["name"]: row_conditions_of(POD, pod) for pod in PODS}
    assert marked["done"] == [
        {"type": "Completed", "status": "True", "reason": "Succeeded", "message": "The pod has completed successfully."}
    ]
    assert marked["failed"][0]["reason"] == "Failed"
    assert marked["web"] == [] and row_conditions_of(SCALE, {}) == []


_VALUE: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x", "Always", MADE, "Ready", "True"]),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)


def _values(node: schemas.Node, depth: int) -> st.SearchStrategy[Any]:
    """Values that mostly fit the type."""
    node = node.resolved()
    if node.type == "array" and node.items is not None and depth:
        return st.lists(_values(node.items, depth - 1), max_size=2)
    if node.properties and depth:
        return st.fixed_dictionaries(
            {},
            optional={
                key: _values(site, depth - 1) for key, site in node.properties.items() if key not in ("apiVersion", "kind")
            },
        )
    if node.additional is not None:
        return st.dictionaries(st.sampled_from(["a", "storage"]), _VALUE, max_size=1)
    return _VALUE


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_object_of_the_right_shape_breaks_its_row(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from([kind for kind in BUILT_IN if kind.stored]))
    obj = data.draw(_values(schemas.definition_of(kind), 3))
    try:
        strict.check(kind, obj)
    except StatusError:
        return
    assert len(cells_of(kind, obj, NOW)) == len(columns_of(kind))
