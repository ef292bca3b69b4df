"""Reading log files: on real files, with rotation under the reader."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.agent.log_lines import parse_line, tail_offset, tail_text
from edgekube.agent.log_rotation import rotate
from edgekube.agent.logs import LogOptions, parse_options, read_log
from edgekube.api.errors import StatusError
from edgekube.containerd.model import RuntimeFailure


def line(number: int, text: str, *, stream: str = "stdout", tag: str = "F") -> str:
    return f"2026-01-02T03:04:{number:02d}.000000001Z {stream} {tag} {text}\n"


async def read(path: Path, **options: object) -> str:
    pieces = [piece async for piece in read_log(path, LogOptions(**options), lambda: True)]  # type: ignore[arg-type]
    return b"".join(pieces).decode()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "0.log"
    path.write_text(line(1, "one") + line(2, "two", stream="stderr") + line(3, "thr", tag="P") + line(4, "ee") + line(5, "four"))
    return path


async def test_what_is_asked_is_what_is_shown(log: Path) -> None:
    assert await read(log) == "one\ntwo\nthree\nfour\n"
    assert await read(log, tail_lines=2) == "three\nfour\n"
    assert await read(log, tail_lines=0) == ""
    assert await read(log, tail_lines=99) == "one\ntwo\nthree\nfour\n"
    assert await read(log, limit_bytes=5) == "one\nt"
    assert await read(log, stream="Stderr") == "two\n"
    assert await read(log, timestamps=True, tail_lines=2) == (
        "2026-01-02T03:04:03.000000001Z three\n2026-01-02T03:04:05.000000001Z four\n"
    )
    since = parse_options({"sinceTime": "2026-01-02T03:04:05Z"}, 0).since
    assert await read(log, since=since) == "four\n"


async def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert await read(tmp_path / "none.log") == ""
    assert tail_text(tmp_path / "none.log", 10, 100) == ""


@pytest.mark.parametrize("tail_lines", [None, 3000])
async def test_a_log_that_grows_under_the_reader_ends_where_it_was_opened(tmp_path: Path, tail_lines: int | None) -> None:
    path = tmp_path / "0.log"
    path.write_text("".join(line(1, f"{number:060d}") for number in range(3000)))  # more than one block
    shown = b""
    with path.open("a") as stream:
        async for piece in read_log(path, LogOptions(tail_lines=tail_lines), lambda: False):
            shown += piece
            if b"later" not in shown:
                stream.write(line(2, "later"))
                stream.flush()
    assert shown.decode() == "".join(f"{number:060d}\n" for number in range(3000))


async def test_a_log_rotated_under_the_reader_is_not_begun_anew(log: Path, tmp_path: Path) -> None:
    shown = b""
    async for piece in read_log(log, LogOptions(), lambda: False):
        shown += piece
        if b"later" not in shown:
            log.rename(tmp_path / "0.log.old")
            log.write_text(line(6, "later"))
    assert shown == b"one\ntwo\nthree\nfour\n"


async def test_a_follower_goes_on_across_rotation(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    path = tmp_path / "0.log"
    path.write_text(line(1, "one"))
    over = False
    seen: list[bytes] = []

    async def follow() -> None:
        seen.extend([piece async for piece in read_log(path, LogOptions(follow=True), lambda: over)])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await trio.sleep(1)
        with path.open("a") as stream:
            stream.write(line(2, "two"))
            stream.flush()
            await trio.sleep(1)
            path.rename(tmp_path / "0.log.old")
            stream.write(line(3, "late"))  # containerd has not reopened yet
            stream.flush()
            await trio.sleep(1)
        path.write_text(line(4, "new"))
        await trio.sleep(1)
        over = True
    assert b"".join(seen) == b"one\ntwo\nlate\nnew\n"


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.tuples(st.text("ab", max_size=3), st.sampled_from("FP")), max_size=12), count=st.integers(1, 14))
def test_the_tail_begins_where_the_last_lines_begin(texts: list[tuple[str, str]], count: int) -> None:
    data = "".join(line(0, text, tag=tag) for text, tag in texts).encode()
    lines: list[str] = []
    begins = True
    for text, tag in texts:
        if begins:
            lines.append("")
        lines[-1] += text + ("\n" if tag == "F" else "")
        begins = tag == "F"
    offset = tail_offset(io.BytesIO(data), count, len(data))
    shown = b"".join(found.shown(False) for raw in data[offset:].splitlines() if (found := parse_line(raw)))
    assert shown.decode() == "".join(lines[-count:])


def test_a_tail_longer_than_one_block() -> None:
    data = "".join(line(0, "x" * 1000) for _ in range(500)).encode()
    offset = tail_offset(io.BytesIO(data), 200, len(data))
    assert data[offset:].count(b"\n") == 200


def test_options_that_make_no_sense() -> None:
    for query in ({"tailLines": "-1"}, {"limitBytes": "0"}, {"sinceSeconds": "x"}, {"sinceTime": "yesterday"}):
        with pytest.raises(StatusError) as refused:
            parse_options(query, 0)
        assert refused.value.code == 400


class _Reopens:
    """The one verb of the runtime that rotation uses."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    async def reopen_log(self, container_id: str) -> None:
        if self._path is None:
            raise RuntimeFailure("UNAVAILABLE", "away")
        self._path.touch()


async def test_rotation_keeps_so_many_files(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    for number in range(7):
        (tmp_path / f"0.log.2026010{number}-000000").touch()
    path.write_text("x" * 100)
    assert await rotate(_Reopens(path), "c1", path, bytes_max=50, files_max=5)  # type: ignore[arg-type]
    assert path.read_text() == ""
    assert len(list(tmp_path.glob("0.log*"))) == 5
    assert not await rotate(_Reopens(path), "c1", path, bytes_max=50, files_max=5)  # type: ignore[arg-type]


async def test_a_log_that_cannot_be_reopened_keeps_its_name(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_text("x" * 100)
    with pytest.raises(RuntimeFailure):
        await rotate(_Reopens(None), "c1", path, bytes_max=50, files_max=5)  # type: ignore[arg-type]
    assert path.read_text() == "x" * 100
