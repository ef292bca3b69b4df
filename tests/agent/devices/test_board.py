"""Devices of the board: what an operator may declare, what is found in /dev, and that nothing is missed when it changes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import trio

from edgekube import limits
from edgekube.agent.devices.board import Board, follow_board
from edgekube.agent.devices.ledger import Offer
from edgekube.agent.devices.model import DeviceProblem, Given
from edgekube.api.board_devices import from_mapping, parse, variable
from edgekube.containerd.model import Device
from edgekube.settings import BoardDevice

SERIAL = "edgekube.io/serial"


def test_three_spellings_of_one_declaration() -> None:
    text = f"{SERIAL}=/dev/serial/by-id/usb-FTDI*;/dev/ttyAMA0;share=2;permissions=rwm;together"
    made = BoardDevice(SERIAL, ("/dev/serial/by-id/usb-FTDI*", "/dev/ttyAMA0"), 2, "rwm", True)
    assert parse(text) == made
    assert from_mapping({
        "resource": SERIAL, "paths": list(made.paths), "share": 2, "permissions": "rwm", "together": True,
    }) == made  # fmt: skip
    assert parse(f"{SERIAL}=/dev/ttyAMA0;as=/dev/gps") == BoardDevice(SERIAL, ("/dev/ttyAMA0",), container_path="/dev/gps")
    assert variable(parse("vendor.example/i2c-bus.1=/dev/i2c-1")) == "EDGEKUBE_DEVICE_I2C_BUS_1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "give RESOURCE=PATH"),
        (SERIAL, "give RESOURCE=PATH"),
        ("serial=/dev/ttyS0", "'serial' is not the name of an extended resource"),
        ("kubernetes.io/serial=/dev/ttyS0", "is not the name of an extended resource"),
        (f"{SERIAL}=share=2", "give from 1 to 16 paths"),
        (f"{SERIAL}=/etc/shadow", "'/etc/shadow' is not a path below /dev"),
        (f"{SERIAL}=/dev/../etc/shadow", "is not a path below /dev"),
        (f"{SERIAL}=/dev/mem", "/dev/mem is never given to a container"),
        (f"{SERIAL}=/dev/ttyS0;share=0", "share is a number from 1 to 100"),
        (f"{SERIAL}=/dev/ttyS0;share=many", "share is a number from 1 to 100"),
        (f"{SERIAL}=/dev/ttyS0;permissions=x", "permissions are some of"),
        (f"{SERIAL}=/dev/ttyS0;permissions=", "permissions are some of"),
        (f"{SERIAL}=/dev/ttyS0;speed=9600", "'speed=9600' is not understood"),
        (f"{SERIAL}=/dev/ttyS0;share=2;share=3", "is not understood"),
        (f"{SERIAL}=/dev/ttyS*;as=/dev/gps", "as goes with one path that is no pattern"),
        (f"{SERIAL}=/dev/ttyS0;as=/etc/gps", "is not a path below /dev"),
    ],
)
def test_what_cannot_be_declared(text: str, words: str) -> None:
    with pytest.raises(ValueError) as error:
        parse(text)
    assert words in str(error.value)


def test_mappings_that_say_something_else() -> None:
    for values, words in (
        ({"resource": SERIAL, "path": "/dev/ttyS0"}, "unknown key 'path'"),
        ({"resource": SERIAL, "paths": "/dev/ttyS0", "together": "yes"}, "together is true or false"),
        ({"paths": ["/dev/ttyS0"]}, "is not the name of an extended resource"),
    ):
        with pytest.raises(ValueError, match=words):
            from_mapping(values)


@pytest.fixture
def dev(tmp_path: Path) -> Path:
    made = tmp_path / "dev"
    (made / "serial/by-id").mkdir(parents=True)
    return made


def node(path: Path) -> None:
    """/dev/null under another name."""
    os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))


def board(dev: Path, text: str) -> Board:
    return Board(parse(f"{SERIAL}={text}"), dev.parent)


@pytest.mark.root
def test_what_is_found(dev: Path) -> None:
    for name in ("ttyS0", "ttyS1"):
        node(dev / name)
    (dev / "ttyS2").write_text("a file is no device")
    (dev / "ttyS3").symlink_to("/dev/null")
    (dev / "serial/by-id/gps").symlink_to("../../ttyS1")
    (dev / "serial/by-id/gone").symlink_to("../../ttyS9")

    assert board(dev, "/dev/ttyS*").present() == {"/dev/ttyS0#0", "/dev/ttyS1#0"}
    assert board(dev, "/dev/ttyS0;/dev/ttyS8;share=2").present() == {"/dev/ttyS0#0", "/dev/ttyS0#1"}
    assert board(dev, "/dev/serial/by-id/*").present() == {"/dev/serial/by-id/gps#0"}
    assert board(dev, "/dev/ttyS[01];/dev/serial/by-id/gps;together").present() == {f"{SERIAL}#0"}
    assert board(dev, "/dev/ttyS0;/dev/ttyS8;together").present() == frozenset()
    assert board(dev, "/dev/ttyS0").offer(["/dev/ttyS7#0"]) == Offer(frozenset({"/dev/ttyS0#0"}), frozenset({"/dev/ttyS7#0"}))


@pytest.mark.root
def test_what_a_container_gets(dev: Path) -> None:
    node(dev / "ttyS0")
    node(dev / "ttyS1")
    link = dev / "serial/by-id/gps"
    link.symlink_to("../../ttyS0")
    by_id = board(dev, "/dev/serial/by-id/gps;permissions=r")

    def given() -> Given:
        return by_id.given(["/dev/serial/by-id/gps#0"])

    assert given() == Given(
        env={"EDGEKUBE_DEVICE_SERIAL": "/dev/serial/by-id/gps"},
        devices=(Device("/dev/serial/by-id/gps", str(dev / "ttyS0"), "r"),),
    )
    # The cable was pulled and put in again: the stable path leads elsewhere.
    link.unlink()
    with pytest.raises(DeviceProblem, match=r"device /dev/serial/by-id/gps of edgekube.io/serial is not there any more"):
        given()
    link.symlink_to("../../ttyS1")
    assert given().devices[0].host_path == str(dev / "ttyS1")

    both = board(dev, "/dev/ttyS*").given(["/dev/ttyS0#0", "/dev/ttyS1#0"])
    assert both.env == {"EDGEKUBE_DEVICE_SERIAL": "/dev/ttyS0:/dev/ttyS1"}
    shared = board(dev, "/dev/ttyS0;share=3;as=/dev/gps").given(["/dev/ttyS0#0", "/dev/ttyS0#2"])
    assert shared.devices == (Device("/dev/gps", str(dev / "ttyS0"), "rw"),)
    together = board(dev, "/dev/ttyS*;together").given([f"{SERIAL}#0"])
    assert [device.container_path for device in together.devices] == ["/dev/ttyS0", "/dev/ttyS1"]


@pytest.mark.root
def test_a_pattern_that_is_too_wide_is_cut(dev: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        node(dev / f"ttyS{number}")
    assert len(board(dev, f"/dev/*;share={limits.BOARD_DEVICE_SHARES_MAX}").present()) == limits.BOARD_DEVICES_MAX


@pytest.mark.root
async def test_devices_come_and_go(dev: Path) -> None:
    send, receive = trio.open_memory_channel[frozenset[str]](100)

    async def offered(resource: str, source: Board, offer: Offer) -> None:
        await send.send(offer.healthy)

    async def until(expected: set[str]) -> None:
        with trio.fail_after(60):
            while await receive.receive() != expected:
                pass

    def in_use(resource: str) -> Iterable[str]:
        trio.lowlevel.current_task()  # the ledger belongs to the loop: a thread that walked through it would see it change
        return ()

    (dev / "serial/by-id").rmdir()
    (dev / "serial").rmdir()
    boards: list[Any] = [board(dev, "/dev/serial/by-id/*")]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow_board, boards, in_use, offered)
        await until(set())
        # The first device of its kind brings the directory with it.
        node(dev / "ttyUSB0")
        (dev / "serial/by-id").mkdir(parents=True)
        (dev / "serial/by-id/gps").symlink_to("../../ttyUSB0")
        await until({"/dev/serial/by-id/gps#0"})
        (dev / "serial/by-id/gps").unlink()
        await until(set())
        nursery.cancel_scope.cancel()
