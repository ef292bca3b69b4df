"""Ranges of users for pods with a user namespace: never shared, kept across restarts, refused where the runtime cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.agent.user_namespaces import IDS, UsersProblem, first_free, range_of, read_range, refusal
from edgekube.containerd.model import IdMapping, RuntimeFeatures, RuntimeHandler


def test_a_pod_keeps_its_range_and_shares_it_with_nobody(tmp_path: Path) -> None:
    for uid in ("a", "b", "c"):
        (tmp_path / uid).mkdir()
    first = range_of(tmp_path, "a")
    assert first == IdMapping(IDS, IDS)
    assert range_of(tmp_path, "b") == IdMapping(2 * IDS, IDS)
    assert range_of(tmp_path, "a") == first
    (tmp_path / "a" / "userns").unlink()
    assert range_of(tmp_path, "c") == first
    assert range_of(tmp_path, "a") == IdMapping(3 * IDS, IDS)
    assert (tmp_path / "a" / "userns").stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_not_whole_is_no_range(tmp_path: Path) -> None:
    for text in ("", "{}", '{"uidMappings": [{"hostId": 0, "length": 65536}]}', '{"uidMappings": [{"hostId": 65536}]}'):
        (tmp_path / "userns").write_text(text)
        assert read_range(tmp_path) is None


@given(st.sets(st.integers(1, 50)))
def test_the_first_range_that_nobody_has(taken: set[int]) -> None:
    found = first_free(number * IDS for number in taken)
    assert found // IDS not in taken and found >= IDS
    assert all(number in taken for number in range(1, found // IDS))


def test_all_ranges_may_be_taken() -> None:
    with pytest.raises(UsersProblem, match="could not find an empty slot"):
        first_free(number * IDS for number in range(1, 65536))


def test_what_the_runtime_cannot_do_is_said_in_the_kubelets_words() -> None:
    words = "can't set `spec.hostUsers: false`, "
    assert refusal(RuntimeFeatures(), "") == words + "runtime does not support user namespaces"
    known = RuntimeFeatures((RuntimeHandler(""), RuntimeHandler("runc", user_namespaces=True)))
    assert refusal(known, "") == words + "runtime does not support user namespaces"
    assert refusal(known, "runc") == ""
    unknown = f'{words}RuntimeClass handler "kata" does not support user namespaces: the handler "kata" is not known'
    assert refusal(known, "kata") == unknown
