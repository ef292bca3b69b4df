"""A log line is one line, whoever's words are in it."""

from __future__ import annotations

import json
import logging

import pytest

from edgekube.cli.logs import formatter


@pytest.mark.parametrize("name", ["text", "json"])
def test_a_strangers_words_begin_no_line(name: str) -> None:
    record = logging.LogRecord("edgekube.x", logging.INFO, __file__, 1, "refused: %s", ("a\nb\x1b[2J\u2028c ä",), None)
    line = formatter(name).format(record)
    assert line.isprintable()
    assert line.endswith("refused: a\\nb\\x1b[2J\\u2028c ä") or json.loads(line)["message"] == record.getMessage()


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    try:
        raise ValueError("of ours")
    except ValueError as error:
        record = logging.LogRecord(
            "edgekube.x", logging.ERROR, __file__, 1, "failed", (), (ValueError, error, error.__traceback__)
        )
    assert formatter("text").format(record).splitlines()[-1] == "ValueError: of ours"
