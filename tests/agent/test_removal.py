"""Directories that pods have filled are removed, whatever is in them."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekube.agent.volumes.removal import remove_tree

NAMES = st.sampled_from(["a", "b", ".0", ".1", ".2", ".3"])
TREES: st.SearchStrategy[object] = st.recursive(
    st.none() | st.just("link"), lambda below: st.dictionaries(NAMES, below | st.just({}), max_size=4), max_leaves=40
)


def dig(root: Path, depth: int) -> None:
    """A path of that length cannot be named as a whole."""
    descriptor = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("a", dir_fd=descriptor)
        below = os.open("a", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)


def test_a_tree_deeper_than_any_stack(tmp_path: Path) -> None:
    root = tmp_path / "volume"
    root.mkdir()
    dig(root, 1500)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        remove_tree(root)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not root.exists()


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("yes")
    root = tmp_path / "volume"
    (root / "in").mkdir(parents=True)
    (root / "link").symlink_to(kept)
    (root / "in" / "link").symlink_to(kept)
    remove_tree(root)
    assert not root.exists() and (kept / "file").read_text() == "yes"
    (tmp_path / "volume").symlink_to(kept)
    with pytest.raises(OSError, match="Not a directory"):
        remove_tree(tmp_path / "volume")
    assert (kept / "file").exists()


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        remove_tree(tmp_path / "volume")


def build(at: Path, tree: object, outside: Path) -> None:
    if isinstance(tree, dict):
        at.mkdir()
        for name, below in tree.items():
            build(at / name, below, outside)
    elif tree == "link":
        at.symlink_to(outside)
    else:
        at.write_text("")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.dictionaries(NAMES, TREES, max_size=4))
def test_any_tree_goes_and_nothing_beside_it(tmp_path: Path, tree: dict[str, object]) -> None:
    """Also one whose names are those that directories get on their way up."""
    outside = tmp_path / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "file").write_text("")
    root = tmp_path / "volume"
    build(root, tree, outside)
    remove_tree(root)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["outside"]
    assert (outside / "file").exists()
