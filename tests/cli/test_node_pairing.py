"""What ``edgekube node pending`` and its kin print and take."""

from __future__ import annotations

import click
import pytest

from edgekube.api.allowed_serials import AllowedSerial, as_secret, from_secret, key_of
from edgekube.cli.node_pairing import entries_from, render_allowed, render_pending

ITEMS = [
    {"name": "pi-8", "serial": "", "peer": "[2001:db8::8]:40000", "key": "cd" * 32, "ageSeconds": 5},
    {"name": "pi-7", "serial": "100000003d1d1c36", "peer": "192.0.2.7:40000", "key": "ab" * 32, "ageSeconds": 61},
]


def test_pending_machines_are_listed_without_codes() -> None:
    assert render_pending(ITEMS) == (
        "NAME  SERIAL            ADDRESS        KEY               AGE\n"
        "pi-7  100000003d1d1c36  192.0.2.7      abababababababab  61s\n"
        "pi-8  -                 [2001:db8::8]  cdcdcdcdcdcdcdcd  5s\n"
    )


def test_codes_are_listed_when_they_were_asked_for() -> None:
    assert render_pending([{**ITEMS[1], "code": "831-402"}]) == (
        "NAME  SERIAL            ADDRESS    KEY               AGE  CODE\n"
        "pi-7  100000003d1d1c36  192.0.2.7  abababababababab  61s  831-402\n"
    )


def test_an_empty_list_says_what_to_do() -> None:
    assert render_pending([]) == "no machine asks to be let in; on a new one, run: sudo edgekube agent\n"
    assert render_allowed([]) == "no serial numbers are allowed; edgekube node allow adds some\n"


def test_allowed_serials_are_listed() -> None:
    entries = [AllowedSerial("b2", "press-3", "2026-01-01T00:00:00Z"), AllowedSerial("a1", "", "2026-01-02T00:00:00Z")]
    assert render_allowed(entries) == (
        "SERIAL  NAME     SINCE\na1      -        2026-01-02T00:00:00Z\nb2      press-3  2026-01-01T00:00:00Z\n"
    )


def test_serials_come_from_the_line_and_from_a_file() -> None:
    text = "# the press hall\n100a press-1\n\n100b   # the spare one\n"
    assert [(entry.serial, entry.node_name) for entry in entries_from(["100c"], "", text)] == [
        ("100c", ""),
        ("100a", "press-1"),
        ("100b", ""),
    ]
    assert [entry.node_name for entry in entries_from(["100c"], "press-9", "")] == ["press-9"]


@pytest.mark.parametrize(
    ("serials", "name", "text", "what"),
    [
        ([], "", "", "give serial numbers"),
        ([" "], "", "", "give serial numbers"),
        (["a", "b"], "press-1", "", "one serial number"),
        (["a"], "Press_1", "", "lower-case"),
        ([], "", "a\nb press-1 c\n", "line 2"),
        ([], "", "b Press_1\n", "line 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(serials: list[str], name: str, text: str, what: str) -> None:
    with pytest.raises(click.UsageError, match=what):
        entries_from(serials, name, text)


def test_a_serial_is_the_same_however_it_is_written() -> None:
    secret = as_secret([AllowedSerial(" 1000-ABC ", "press-3", "now")])
    assert from_secret(secret) == {key_of("1000-abc"): AllowedSerial("1000-ABC", "press-3", "now")}


def test_a_bent_list_allows_nobody() -> None:
    good = as_secret([AllowedSerial("a"), AllowedSerial("b")])
    swapped = {key_of("a"): good["data"][key_of("b")], key_of("b"): "bm90IGpzb24=", "x": "%"}
    assert from_secret({**good, "data": swapped}) == {}
    assert from_secret({**good, "type": "Opaque"}) == {}
    with pytest.raises(ValueError, match="at most"):
        as_secret([AllowedSerial(str(number)) for number in range(3000)])
