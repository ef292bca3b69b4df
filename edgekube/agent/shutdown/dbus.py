"""D-Bus, as far as asking systemd-logind for a delay needs it: calls with texts, replies with a descriptor or a number, signals.

Enters: the path of a bus's socket.
Leaves: replies and signals as Messages; BusError when the other side refuses, OSError when it goes away.
Holds: little endian, version 1; whatever is not understood in a body is left as bytes. A whole library for three calls would cost
more memory than all of this agent's shutdown.
Bound: limits.DBUS_MESSAGE_BYTES_MAX for a message of the other side.
Source: D-Bus Specification, "Authentication Protocol", "Message Protocol".
Next: agent.shutdown.logind.
"""

from __future__ import annotations

import array
import os
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import trio
from msgspec import Struct, field

from edgekube.limits import DBUS_CALL_SECONDS, DBUS_MESSAGE_BYTES_MAX

CALL, REPLY, ERROR, SIGNAL = 1, 2, 3, 4
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_SERIAL, _DESTINATION, _SENDER, _SIGNATURE, _FDS = range(1, 10)
_TYPES: Final = {_PATH: "o", _REPLY_SERIAL: "u", _SIGNATURE: "g", _FDS: "u"}
_DESCRIPTORS_MAX: Final = 16


class BusError(Exception):
    """The other side said no: its error's name and text."""


class Message(Struct):
    kind: int
    path: str = ""
    interface: str = ""
    member: str = ""
    destination: str = ""
    error_name: str = ""
    reply_to: int = 0
    signature: str = ""
    body: bytes = b""
    sender: str = ""
    serial: int = 0
    descriptors: list[int] = field(default_factory=list)
    #: As the header of a message that arrives has it.
    descriptor_count: int = 0

    def close(self) -> None:
        """The descriptors that came with it, when nobody wants them."""
        while self.descriptors:
            os.close(self.descriptors.pop())


def strings(*texts: str) -> tuple[str, bytes]:
    """Signature and body of an argument list of texts."""
    body = b""
    for text in texts:
        body += b"\0" * (-len(body) % 4) + _text(text)
    return "s" * len(texts), body


def read_string(body: bytes) -> str:
    """The first argument, when it is a text. Raises BusError."""
    size = _number("<I", body)
    return body[4 : 4 + size].decode(errors="replace")


def read_boolean(body: bytes) -> bool:
    """Raises BusError."""
    return bool(_number("<I", body))


def read_variant_number(body: bytes) -> int:
    """Of a variant that holds an unsigned number of 64 bits. Raises BusError."""
    if body[:3] != b"\x01t\0":
        raise BusError("not the number that was asked for")
    return _number("<Q", body, 8)


def _number(form: str, body: bytes, offset: int = 0) -> int:
    try:
        return int(struct.unpack_from(form, body, offset)[0])
    except struct.error:
        raise BusError(f"a body of {len(body)} bytes") from None


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<I", len(raw)) + raw + b"\0"


def encode(message: Message, serial: int) -> bytes:
    rows: list[tuple[int, str | int]] = [
        (_PATH, message.path),
        (_INTERFACE, message.interface),
        (_MEMBER, message.member),
        (_ERROR_NAME, message.error_name),
        (_REPLY_SERIAL, message.reply_to),
        (_DESTINATION, message.destination),
        (_SIGNATURE, message.signature),
        (_FDS, len(message.descriptors)),
    ]
    fields = b""
    for code, value in rows:
        if not value:
            continue
        kind = _TYPES.get(code, "s")
        fields += b"\0" * (-len(fields) % 8) + struct.pack("<BB", code, 1) + kind.encode() + b"\0"
        if isinstance(value, int):
            fields += struct.pack("<I", value)
        elif kind == "g":
            fields += struct.pack("<B", len(value)) + value.encode() + b"\0"
        else:
            fields += _text(value)
    head = struct.pack("<cBBBIII", b"l", message.kind, 0, 1, len(message.body), serial, len(fields)) + fields
    return head + b"\0" * (-len(head) % 8) + message.body


def sizes(head: bytes) -> tuple[int, int]:
    """Of the first 16 bytes: how many the header has in all, and the body. Raises BusError."""
    order, _, _, _, body, _, fields = struct.unpack("<cBBBIII", head)
    if order != b"l":
        raise BusError("a big-endian peer")
    header = 16 + fields
    header += -header % 8
    if header + body > DBUS_MESSAGE_BYTES_MAX:
        raise BusError(f"a message of {header + body} bytes")
    return header, body


def decode(raw: bytes) -> Message:
    """Raises BusError."""
    header, body = sizes(raw[:16])
    message = Message(raw[1], body=raw[header : header + body], serial=struct.unpack_from("<I", raw, 8)[0])
    end = 16 + struct.unpack_from("<I", raw, 12)[0]
    position = 16
    try:
        while position < end:
            position += -position % 8
            code, kind = raw[position], raw[position + 2 : position + 3]
            position += 4
            if kind == b"u":
                position += -position % 4
                value: str | int = struct.unpack_from("<I", raw, position)[0]
                position += 4
            elif kind == b"g":
                size = raw[position]
                value = raw[position + 1 : position + 1 + size].decode()
                position += size + 2
            elif kind in (b"s", b"o"):
                position += -position % 4
                (size,) = struct.unpack_from("<I", raw, position)
                value = raw[position + 4 : position + 4 + size].decode()
                position += size + 5
            else:
                raise BusError("a header of another kind")
            _keep(message, code, value)
    except (IndexError, struct.error, UnicodeDecodeError):
        raise BusError("a message that cannot be read") from None
    return message


def _keep(message: Message, code: int, value: str | int) -> None:
    names = {
        _PATH: "path",
        _INTERFACE: "interface",
        _MEMBER: "member",
        _ERROR_NAME: "error_name",
        _REPLY_SERIAL: "reply_to",
        _DESTINATION: "destination",
        _SENDER: "sender",
        _SIGNATURE: "signature",
        _FDS: "descriptor_count",
    }
    if code in names:
        setattr(message, names[code], value)


class Bus:
    """One connection. One task reads (``receive``); calls wait for their replies there."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self._socket = sock
        self._serial = 0
        self._buffer = b""
        self._descriptors: list[int] = []
        self._waiting: dict[int, trio.MemorySendChannel[Message]] = {}
        self.name = ""

    async def authenticate(self) -> None:
        await self._send_all(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
        await self._line(b"OK ")
        await self._send_all(b"NEGOTIATE_UNIX_FD\r\n")
        await self._line(b"AGREE_UNIX_FD")
        await self._send_all(b"BEGIN\r\n")

    async def _line(self, beginning: bytes) -> None:
        while b"\r\n" not in self._buffer:
            if len(self._buffer) > 4096:
                raise BusError("no answer of a bus")
            await self._read()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        if not line.startswith(beginning):
            raise BusError(line.decode(errors="replace"))

    async def _send_all(self, data: bytes, descriptors: Sequence[int] = ()) -> None:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        sent = await self._socket.sendmsg([data], ancillary)
        while sent < len(data):
            sent += await self._socket.send(data[sent:])

    async def _read(self) -> None:
        room = socket.CMSG_LEN(_DESCRIPTORS_MAX * array.array("i").itemsize)
        data, ancillary, _, _ = await self._socket.recvmsg(65_536, room)
        for level, kind, raw in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                found = array.array("i")
                found.frombytes(raw[: len(raw) - len(raw) % found.itemsize])
                self._descriptors += found
        if not data:
            raise ConnectionResetError("the bus is gone")
        self._buffer += data

    async def send(self, message: Message) -> int:
        self._serial += 1
        message.serial = self._serial
        await self._send_all(encode(message, self._serial), message.descriptors)
        return self._serial

    async def receive(self) -> Message:
        """The next message that answers none of our calls."""
        while True:
            message = await self._next()
            waiting = self._waiting.pop(message.reply_to, None) if message.kind in (REPLY, ERROR) else None
            if waiting is None:
                return message
            waiting.send_nowait(message)

    async def _next(self) -> Message:
        while True:
            if len(self._buffer) >= 16:
                size = sum(sizes(self._buffer[:16]))
                if len(self._buffer) >= size:
                    raw, self._buffer = self._buffer[:size], self._buffer[size:]
                    message = decode(raw)
                    # What was read in one go may be several messages, and the descriptors of the last.
                    count = message.descriptor_count
                    if count > len(self._descriptors):
                        raise BusError("a message without its descriptors")
                    message.descriptors, self._descriptors = self._descriptors[:count], self._descriptors[count:]
                    return message
            await self._read()

    async def call(self, destination: str, path: str, interface: str, member: str, *texts: str) -> Message:
        """The reply. Somebody must be in ``receive`` meanwhile. Raises BusError."""
        signature, body = strings(*texts)
        send, answer = trio.open_memory_channel[Message](1)
        request = Message(CALL, path, interface, member, destination, signature=signature, body=body)
        self._serial += 1
        request.serial = self._serial
        self._waiting[request.serial] = send
        await self._send_all(encode(request, request.serial))
        with trio.move_on_after(DBUS_CALL_SECONDS) as patience:
            reply = await answer.receive()
        if patience.cancelled_caught:
            raise BusError(f"no answer to {member}")
        if reply.kind == ERROR:
            text = read_string(reply.body) if reply.signature.startswith("s") else ""
            raise BusError(f"{reply.error_name}: {text}")
        return reply

    def close(self) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = []
        self._socket.close()


@asynccontextmanager
async def connect(path: str) -> AsyncIterator[Bus]:
    """Authenticated. Raises OSError, BusError."""
    sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    bus = Bus(sock)
    try:
        await sock.connect(path)
        await bus.authenticate()
        yield bus
    finally:
        bus.close()
