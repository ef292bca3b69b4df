"""Which ends are worth a second look."""

from __future__ import annotations

from typing import Any

import pytest

from edgekube.agent.out_of_memory import LOOKS_SECONDS, SETTLES_SECONDS, may_be
from edgekube.containerd.model import ContainerStatus


def ended(**more: Any) -> ContainerStatus:
    about = {"id": "c", "name": "main", "attempt": 0, "created_at_ns": 0, "started_at_ns": 0, "message": "", "image": ""}
    end = {"state": "EXITED", "finished_at_ns": 100_000_000_000, "exit_code": 137, "reason": "Error"}
    return ContainerStatus(**{**about, **end, "image_ref": "", "labels": {}, "annotations": {}, "log_path": "", **more})


def test_who_was_killed_a_moment_ago_by_nobody_here_may_have_run_out_of_memory() -> None:
    assert may_be(ended(), 100.2, ended_here=False)
    assert may_be(ended(reason=""), 100.2, ended_here=False)


@pytest.mark.parametrize(
    ("status", "now", "ended_here"),
    [
        (ended(reason="OOMKilled"), 100.2, False),
        (ended(exit_code=1), 100.2, False),
        (ended(state="RUNNING"), 100.2, False),
        (ended(), 100.2, True),
        (ended(), 100.0 + SETTLES_SECONDS, False),
    ],
)
def test_what_is_known_is_not_asked_for_again(status: ContainerStatus, now: float, ended_here: bool) -> None:
    assert not may_be(status, now, ended_here=ended_here)


def test_the_looks_end_before_the_reason_is_given_up() -> None:
    assert sum(LOOKS_SECONDS) < SETTLES_SECONDS
