from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from edgekube.agent.last_words import LastWords
from edgekube.agent.log_writer import completion, is_being_written, until_complete
from edgekube.agent.names import TERMINATION_POLICY, PodPaths
from edgekube.agent.state import NOTHING, ObservedContainer, PodMemory, PodObserved
from edgekube.containerd.model import ContainerStatus
from edgekube.limits import LOG_COMPLETE_SECONDS_MAX, LOG_LOOK_SECONDS

LINE = "2026-01-01T00:00:00.0Z stderr F it broke\n"


def ended(policy: str = "FallbackToLogsOnError", exit_code: int = 7) -> ContainerStatus:
    return ContainerStatus(
        id="c1", name="main", attempt=0, state="EXITED", created_at_ns=0, started_at_ns=1, finished_at_ns=2, exit_code=exit_code,
        reason="", message="", image="", image_ref="", labels={}, annotations={TERMINATION_POLICY: policy}, log_path="",
    )  # fmt: skip


SEEN = PodObserved(containers=(ObservedContainer("s1", ended()),))


@pytest.fixture
def paths(tmp_path: Path) -> PodPaths:
    made = PodPaths(tmp_path / "agent", tmp_path / "logs", "default", "web", "u1")
    made.log("main", 0).parent.mkdir(parents=True)
    made.termination_log("main", 0).parent.mkdir(parents=True)
    return made


async def test_the_end_is_told_when_the_log_is_whole(paths: PodPaths) -> None:
    memory = PodMemory(started_at=0.0)
    words = LastWords(memory)
    with paths.log("main", 0).open("w") as log:
        words.read(paths, ended(), 100.0)
        assert words.settle(SEEN, 100.0) == 100.0 + LOG_LOOK_SECONDS
        assert memory.messages == {}
        with trio.move_on_after(0) as waiting:
            await words.all_read(lambda: SEEN)
        assert waiting.cancelled_caught
        log.write(LINE)
    words.read(paths, ended(), 100.1)
    assert words.settle(SEEN, 100.1) is None
    await words.all_read(lambda: SEEN)
    assert memory.messages == {"c1": "it broke\n"}


async def test_a_log_that_somebody_keeps_open_is_not_waited_for_for_ever(paths: PodPaths) -> None:
    memory = PodMemory(started_at=0.0)
    words = LastWords(memory)
    with paths.log("main", 0).open("w") as log:
        log.write(LINE)
        log.flush()
        words.read(paths, ended(), 100.0)
        words.read(paths, ended(), 100.0 + LOG_COMPLETE_SECONDS_MAX)
        assert words.settle(SEEN, 105.0) is None
    assert memory.messages == {"c1": "it broke\n"}


async def test_a_container_that_is_removed_meanwhile_holds_nothing_up(paths: PodPaths) -> None:
    words = LastWords(PodMemory(started_at=0.0))
    with paths.log("main", 0).open("w"):
        words.read(paths, ended(), 100.0)
        assert words.settle(SEEN, 100.0) is not None
        assert words.settle(NOTHING, 100.0) is None
        await words.all_read(lambda: NOTHING)


@pytest.mark.parametrize(
    ("status", "file", "message"),
    [
        (ended(), "of its own", "of its own"),
        (ended(policy="File"), "", ""),
        (ended(exit_code=0), "", ""),
    ],
)
async def test_what_needs_no_log_does_not_wait(paths: PodPaths, status: ContainerStatus, file: str, message: str) -> None:
    memory = PodMemory(started_at=0.0)
    paths.termination_log("main", 0).write_text(file)
    with paths.log("main", 0).open("w") as log:
        log.write(LINE)
        LastWords(memory).read(paths, status, 100.0)
    assert memory.messages == {"c1": message}


async def test_a_reader_waits_for_the_writer(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    path = tmp_path / "0.log"
    assert not is_being_written(path)
    with path.open("w"):
        assert is_being_written(path)
        with path.open(), trio.fail_after(LOG_COMPLETE_SECONDS_MAX + 1):
            await until_complete(path)
    began = trio.current_time()
    await until_complete(path)
    assert trio.current_time() == began


async def test_a_follower_ends_even_if_somebody_keeps_the_log(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    path, over = tmp_path / "0.log", [False]
    complete = completion(path, lambda: over[0])
    with path.open("w"):
        assert not complete()
        over[0] = True
        assert not complete()
        await trio.sleep(LOG_COMPLETE_SECONDS_MAX + 1)
        assert complete()
    assert completion(path, lambda: True)()
