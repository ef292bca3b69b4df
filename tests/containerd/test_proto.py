"""Our .proto files against a published copy of the CRI, and the message classes made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cri_api.v1 import api_pb2

from build_hooks.grpc_stubs import PACKAGES, generate
from edgekube.containerd._generated import content_pb2, cri_pb2, events_pb2, images_pb2, leases_pb2

ROOT = Path(__file__).parents[2]
OURS, PUBLISHED = cri_pb2.DESCRIPTOR, api_pb2.DESCRIPTOR


def _shape(field: Any) -> tuple[object, ...]:
    kind = field.message_type or field.enum_type
    repeated = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
    return field.name, field.number, field.type, repeated, kind.full_name if kind else ""


@pytest.mark.parametrize("name", sorted(OURS.message_types_by_name))
def test_messages_are_the_published_ones(name: str) -> None:
    ours, published = OURS.message_types_by_name[name], PUBLISHED.message_types_by_name[name]
    for field in ours.fields:
        assert _shape(field) == _shape(published.fields_by_name[field.name])


@pytest.mark.parametrize("name", sorted(OURS.enum_types_by_name))
def test_enums_are_the_published_ones(name: str) -> None:
    ours, published = OURS.enum_types_by_name[name], PUBLISHED.enum_types_by_name[name]
    assert {value.name: value.number for value in ours.values} == {value.name: value.number for value in published.values}


@pytest.mark.parametrize("name", ["RuntimeService", "ImageService"])
def test_methods_are_the_published_ones(name: str) -> None:
    published = PUBLISHED.services_by_name[name].methods_by_name
    for method in OURS.services_by_name[name].methods:
        assert (method.input_type.full_name, method.output_type.full_name) == (
            published[method.name].input_type.full_name,
            published[method.name].output_type.full_name,
        )


def test_package_is_the_wire_name() -> None:
    assert OURS.package == PUBLISHED.package == "runtime.v1"
    assert [file.DESCRIPTOR.package for file in (content_pb2, events_pb2, images_pb2, leases_pb2)] == [
        "containerd.services.content.v1",
        "containerd.services.events.v1",
        "containerd.services.images.v1",
        "containerd.services.leases.v1",
    ]


def test_a_message_of_ours_reads_as_one_of_theirs() -> None:
    sent = cri_pb2.PodSandboxConfig(metadata={"name": "web", "attempt": 2}, labels={"a": "b"}, linux={"sysctls": {"k": "v"}})
    read = api_pb2.PodSandboxConfig.FromString(sent.SerializeToString())
    assert (read.metadata.name, read.metadata.attempt, dict(read.labels)) == ("web", 2, {"a": "b"})
    assert dict(read.linux.sysctls) == {"k": "v"}


@pytest.mark.parametrize("name", PACKAGES)
def test_generating_again_changes_nothing(name: str, tmp_path: Path) -> None:
    package = tmp_path / "edgekube" / name
    package.mkdir(parents=True)
    (package / "proto").symlink_to(ROOT / "edgekube" / name / "proto")
    (package / "_generated").mkdir()
    (package / "_generated" / "gone_pb2.py").write_text("left from a proto that was removed")
    generate(tmp_path)
    made = {path.name: path.read_bytes() for path in (package / "_generated").glob("*.py")}
    here = {path.name: path.read_bytes() for path in (ROOT / "edgekube" / name / "_generated").glob("*.py")}
    assert made == here


def test_a_broken_proto_is_an_error(tmp_path: Path) -> None:
    proto = tmp_path / "edgekube" / "containerd" / "proto"
    proto.mkdir(parents=True)
    (proto / "bad.proto").write_text("this is not protobuf")
    with pytest.raises(RuntimeError, match="protoc refused"):
        generate(tmp_path)
