"""A node's own logs: what may be read, and what may be asked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.agent.node_log_query import NodeLogQuery, journal_arguments, parse
from edgekube.agent.node_logs import answer, browsed
from edgekube.api.errors import StatusError


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    root = tmp_path / "log"
    (root / "edgekube").mkdir(parents=True)
    (root / "edgekube/edgekube.log").write_text("the server's own\n")
    (root / "syslog").write_text("line\n")
    (root / "a<b").write_text("")
    (root / "inside").symlink_to("syslog")
    (tmp_path / "shadow").write_text("secret")
    (root / "outside").symlink_to("../shadow")
    (root / "up").symlink_to("..")
    os.mkfifo(root / "pipe")
    return root


def _read(place: str, root: Path) -> str:
    _, found = browsed(place, root)
    if isinstance(found, bytes):
        return found.decode()
    with found:
        return found.read().decode()


def test_directories_and_files_are_browsed(logs: Path) -> None:
    listed = _read("", logs)
    assert '<a href="edgekube/">edgekube/</a>' in listed and '<a href="a%3Cb">a&lt;b</a>' in listed
    assert _read("edgekube/edgekube.log", logs) == "the server's own\n"
    assert _read("inside", logs) == "line\n", "a link that stays within"


@pytest.mark.parametrize(
    "place", ["outside", "up/shadow", "../shadow", "edgekube/../../shadow", "pipe", "none", "syslog/x", "a\0b", "/../shadow", "."]
)
def test_nothing_outside_is_opened(logs: Path, place: str) -> None:
    if place == ".":
        assert "syslog" in _read(place, logs)
        return
    with pytest.raises(StatusError) as error:
        browsed(place, logs)
    assert error.value.code == 404


async def _text(query: NodeLogQuery, root: Path) -> str:
    return b"".join([piece async for piece in answer(query, root)]).decode()


async def test_a_file_is_asked_for_by_its_path(logs: Path) -> None:
    assert await _text(NodeLogQuery(file="/syslog"), logs) == "line\n"
    with pytest.raises(StatusError):
        await _text(NodeLogQuery(file="/outside"), logs)


def test_the_kubelet_of_a_node_is_this_program() -> None:
    assert parse({"query": ["kubelet"], "tailLines": ["5"]}) == NodeLogQuery(("edgekube",), tail_lines=5)
    assert parse({}) is None


def test_what_journalctl_is_asked() -> None:
    query = parse({
        "query": ["edgekube", "ssh"], "sinceTime": ["2026-01-02T03:04:05Z"], "untilTime": ["2026-01-03T00:00:00Z"],
        "boot": ["-1"], "pattern": ["--help"], "tailLines": ["10"],
    })  # fmt: skip
    assert query is not None
    assert journal_arguments(query) == [
        "--utc", "--no-pager", "--output=short-precise", "--unit=edgekube", "--unit=ssh", "--since=2026-01-02 03:04:05",
        "--until=2026-01-03 00:00:00", "--grep=--help", "--case-sensitive=false", "--boot=-1", "--lines=10",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"query": ["  "]}, "query"),
        ({"tailLines": ["1"]}, "query"),
        ({"query": ["a;b"]}, "query"),
        ({"query": ["a", "/b"]}, "query"),
        ({"query": ["/a", "/b"]}, "query"),
        ({"query": ["/a"], "boot": ["0"]}, "query"),
        ({"query": list("abcde")}, "query"),
        ({"query": ["a"], "boot": ["1"]}, "boot"),
        ({"query": ["a"], "tailLines": ["-1"]}, "tailLines"),
        ({"query": ["a"], "tailLines": ["many"]}, "tailLines"),
        ({"query": ["a"], "sinceTime": ["yesterday"]}, "sinceTime"),
        ({"query": ["a"], "sinceTime": ["2026-01-02T00:00:00Z"], "untilTime": ["2026-01-01T00:00:00Z"]}, "untilTime"),
    ],
)
def test_what_is_wrong_is_named(query: dict[str, list[str]], field: str) -> None:
    with pytest.raises(StatusError) as error:
        parse(query)
    assert field in [cause.field for cause in error.value.causes]


@given(st.text())
def test_no_name_becomes_an_option_of_journalctl(name: str) -> None:
    try:
        query = parse({"query": [name]})
    except StatusError:
        return
    if query is not None and query.services:
        assert [argument for argument in journal_arguments(query) if argument.startswith("--unit=")] == [
            f"--unit={query.services[0]}"
        ]
        assert len(journal_arguments(query)) == 4 and "\n" not in query.services[0]
