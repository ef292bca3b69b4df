"""A file is the old one or the new one."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgekube.pki.files import PRIVATE, PUBLIC, write_durably


def test_the_mode_holds_whatever_the_umask(tmp_path: Path) -> None:
    write_durably(tmp_path / "a" / "key", b"secret", PRIVATE)
    assert stat.S_IMODE((tmp_path / "a" / "key").stat().st_mode) == 0o600


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    write_durably(path, b"old", PRIVATE)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_durably(path, b"new", PRIVATE)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"]


def test_threads_that_replace_one_file_at_the_same_time_leave_one_of_theirs(tmp_path: Path) -> None:
    path = tmp_path / "file"
    values = [bytes([number]) * 1000 for number in range(16)]
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda value: write_durably(path, value, PUBLIC), values))
    assert path.read_bytes() in values
    assert list(tmp_path.iterdir()) == [path]
