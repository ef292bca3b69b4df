from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgekube.agent import ending
from edgekube.agent.checkpoint import write_checkpoint
from edgekube.agent.ending import Ending
from edgekube.agent.state import PodMemory


def test_an_end_is_remembered_in_its_words(tmp_path: Path) -> None:
    path = tmp_path / "ending.json"
    assert ending.read(path) is None
    told = Ending("Evicted", "The node was low on resource: memory.", {"type": "DisruptionTarget", "status": "True"}, 5)
    ending.write(path, told)
    memory = PodMemory(started_at=0.0)
    read = ending.read(path)
    assert read == told
    read.begin(memory)
    assert (memory.failure, memory.stop_grace_seconds) == (("Evicted", "The node was low on resource: memory."), 5)
    assert memory.disruption == {"type": "DisruptionTarget", "status": "True"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"reason": 1}'])
def test_a_torn_file_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ending.json"
    path.write_text(text)
    assert ending.read(path) is None


def test_a_disk_that_takes_nothing_keeps_nobody_alive(tmp_path: Path) -> None:
    ending.write(tmp_path / ("x" * 300), Ending("Evicted", ""))


def test_durable_means_on_the_disk_whoever_wrote_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    path = tmp_path / "pod.json"
    write_checkpoint(path, b"one")
    assert synced == []
    write_checkpoint(path, b"one", durable=True)
    assert synced == [str(path)]
    synced.clear()
    write_checkpoint(path, b"two", durable=True)
    assert synced == [f"{path}.new", str(tmp_path)]
    assert path.read_bytes() == b"two"
