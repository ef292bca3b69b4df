"""RFC 9113 frame by frame: what ends the connection, what ends a stream, and what is none of anybody's business."""

from __future__ import annotations

import struct

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from edgekube import limits
from edgekube.wire import frames
from edgekube.wire.protocol import Disconnected, Request, Responder
from edgekube.wire.transport import Transport
from tests.wire.serving import Identity, Serving, echo, serving

SETTINGS = frames.settings({})
#: GET / at server, without and with END_STREAM.
FIELDS = b"\x82\x84\x87\x01\x06server"
POST_FIELDS = b"\x83\x84\x87\x01\x06server"


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return frames.head(len(payload), kind, flags, stream_id) + payload


def get(stream_id: int, fields: bytes = FIELDS) -> bytes:
    return frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, stream_id, fields)


def post(stream_id: int, fields: bytes = POST_FIELDS) -> bytes:
    return frame(frames.HEADERS, frames.END_HEADERS, stream_id, fields)


def data(stream_id: int, payload: bytes, *, end: bool = False, flags: int = 0) -> bytes:
    return frame(frames.DATA, flags | (frames.END_STREAM if end else 0), stream_id, payload)


def word(number: int) -> bytes:
    return struct.pack(">L", number)


class Heard:
    """Frames as they came: (type, flags, stream, payload)."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.frames: list[tuple[int, int, int, bytes]] = []
        self._rest = b""

    async def more(self) -> bool:
        piece = await self.transport.receive_some()
        data = self._rest + piece
        at = 0
        while len(data) - at >= 9:
            high, low, kind, flags, stream_id = frames.HEAD.unpack_from(data, at)
            stop = at + 9 + (high << 8 | low)
            if stop > len(data):
                break
            self.frames.append((kind, flags, stream_id, data[at + 9 : stop]))
            at = stop
        self._rest = data[at:]
        return bool(piece)

    def of(self, kind: int, stream_id: int) -> list[tuple[int, bytes]]:
        return [(flags, payload) for k, flags, stream, payload in self.frames if (k, stream) == (kind, stream_id)]

    async def until(self, kind: int, stream_id: int) -> tuple[int, bytes]:
        with trio.fail_after(60):
            while not self.of(kind, stream_id):
                assert await self.more(), f"closed after {self.frames}"
        return self.of(kind, stream_id)[0]

    async def body(self, stream_id: int) -> bytes:
        with trio.fail_after(60):
            while not any(flags & frames.END_STREAM for flags, _ in self.of(frames.DATA, stream_id)):
                assert await self.more(), f"closed after {self.frames}"
        return b"".join(payload for _, payload in self.of(frames.DATA, stream_id))


async def say(at: Serving, *said: bytes, begin: bytes = frames.PREFACE + SETTINGS) -> Heard:
    transport = await at.dial("h2")
    await transport.send_all(begin + b"".join(said))
    return Heard(transport)


ENDS_THE_CONNECTION = {
    "a frame that is too long": (frame(frames.DATA, 0, 1, bytes(16385)), frames.FRAME_SIZE_ERROR),
    "DATA on stream 0": (data(0, b"x"), frames.PROTOCOL_ERROR),
    "DATA on an idle stream": (data(1, b"x"), frames.PROTOCOL_ERROR),
    "DATA with more padding than frame": (post(1) + data(1, b"\x05abcd", flags=frames.PADDED), frames.PROTOCOL_ERROR),
    "padded DATA without its length": (post(1) + data(1, b"", flags=frames.PADDED), frames.PROTOCOL_ERROR),
    "HEADERS on stream 0": (get(0), frames.PROTOCOL_ERROR),
    "HEADERS on an even stream": (get(2), frames.PROTOCOL_ERROR),
    "HEADERS on a stream that was passed over": (get(5) + get(3), frames.STREAM_CLOSED),
    "HEADERS that end within their priority": (frame(frames.HEADERS, 0x24, 1, b"\0\0"), frames.FRAME_SIZE_ERROR),
    "HEADERS that are not HPACK": (get(1, b"\xff\xff\xff\xff\xff\xff\xff"), frames.COMPRESSION_ERROR),
    "HEADERS interrupted by PING": (
        frame(frames.HEADERS, 1, 1, FIELDS) + frame(frames.PING, 0, 0, bytes(8)),
        frames.PROTOCOL_ERROR,
    ),
    "HEADERS interrupted by an unknown frame": (frame(frames.HEADERS, 1, 1, FIELDS) + frame(0x16, 0, 0), frames.PROTOCOL_ERROR),
    "CONTINUATION of another stream": (
        frame(frames.HEADERS, 1, 1, FIELDS) + frame(frames.CONTINUATION, 4, 3),
        frames.PROTOCOL_ERROR,
    ),
    "CONTINUATION of nothing": (frame(frames.CONTINUATION, 4, 1, FIELDS), frames.PROTOCOL_ERROR),
    "PRIORITY of stream 0": (frame(frames.PRIORITY, 0, 0, bytes(5)), frames.PROTOCOL_ERROR),
    "PRIORITY of four bytes": (get(1) + frame(frames.PRIORITY, 0, 1, bytes(4)), frames.FRAME_SIZE_ERROR),
    "RST_STREAM of stream 0": (frame(frames.RST_STREAM, 0, 0, word(8)), frames.PROTOCOL_ERROR),
    "RST_STREAM of an idle stream": (frame(frames.RST_STREAM, 0, 1, word(8)), frames.PROTOCOL_ERROR),
    "RST_STREAM of three bytes": (get(1) + frame(frames.RST_STREAM, 0, 1, bytes(3)), frames.FRAME_SIZE_ERROR),
    "SETTINGS of a stream": (frame(frames.SETTINGS, 0, 1), frames.PROTOCOL_ERROR),
    "SETTINGS of five bytes": (frame(frames.SETTINGS, 0, 0, bytes(5)), frames.FRAME_SIZE_ERROR),
    "an acknowledgement that says something": (frame(frames.SETTINGS, frames.ACK, 0, bytes(6)), frames.FRAME_SIZE_ERROR),
    "ENABLE_PUSH of 2": (frames.settings({frames.ENABLE_PUSH: 2}), frames.PROTOCOL_ERROR),
    "INITIAL_WINDOW_SIZE too large": (frames.settings({frames.INITIAL_WINDOW_SIZE: 2**31}), frames.FLOW_CONTROL_ERROR),
    "MAX_FRAME_SIZE too small": (frames.settings({frames.MAX_FRAME_SIZE: 16383}), frames.PROTOCOL_ERROR),
    "MAX_FRAME_SIZE too large": (frames.settings({frames.MAX_FRAME_SIZE: 2**24}), frames.PROTOCOL_ERROR),
    "PUSH_PROMISE": (frame(frames.PUSH_PROMISE, 4, 1, word(2) + FIELDS), frames.PROTOCOL_ERROR),
    "PING of a stream": (frame(frames.PING, 0, 1, bytes(8)), frames.PROTOCOL_ERROR),
    "PING of seven bytes": (frame(frames.PING, 0, 0, bytes(7)), frames.FRAME_SIZE_ERROR),
    "GOAWAY of a stream": (frame(frames.GOAWAY, 0, 1, bytes(8)), frames.PROTOCOL_ERROR),
    "GOAWAY of seven bytes": (frame(frames.GOAWAY, 0, 0, bytes(7)), frames.FRAME_SIZE_ERROR),
    "WINDOW_UPDATE of nothing": (frames.window_update(0, 0), frames.PROTOCOL_ERROR),
    "WINDOW_UPDATE of an idle stream": (frames.window_update(1, 1), frames.PROTOCOL_ERROR),
    "WINDOW_UPDATE of three bytes": (frame(frames.WINDOW_UPDATE, 0, 0, bytes(3)), frames.FRAME_SIZE_ERROR),
    "the connection's window overflows": (frames.window_update(0, 2**31 - 1), frames.FLOW_CONTROL_ERROR),
}


@pytest.mark.parametrize("what", ENDS_THE_CONNECTION)
async def test_it_ends_the_connection(identity: Identity, what: str) -> None:
    said, code = ENDS_THE_CONNECTION[what]
    async with serving(echo, identity) as at:
        heard = await say(at, said)
        _, goaway = await heard.until(frames.GOAWAY, 0)
        assert frames.read_word(goaway[4:]) == code
        with trio.fail_after(60):
            while await heard.more():
                pass
        heard.transport.close()


@pytest.mark.parametrize(
    "begin", [b"GET / HTTP/1.1\r\n\r\n12345678901234567890", frames.PREFACE + frame(frames.PING, 0, 0, bytes(8))]
)
async def test_it_does_not_begin_so(identity: Identity, begin: bytes) -> None:
    async with serving(echo, identity) as at:
        heard = await say(at, begin=begin)
        _, goaway = await heard.until(frames.GOAWAY, 0)
        assert frames.read_word(goaway[4:]) == frames.PROTOCOL_ERROR
        heard.transport.close()


def literal(name: bytes, value: bytes) -> bytes:
    return b"\x00%c%b%c%b" % (len(name), name, len(value), value)


ENDS_THE_STREAM = {
    "a name in upper case": get(1, FIELDS + literal(b"X-A", b"b")),
    "a name that is none": get(1, FIELDS + literal(b"a b", b"c")),
    "an empty name": get(1, FIELDS + literal(b"", b"c")),
    "a line break in a value": get(1, FIELDS + literal(b"a", b"b\r\nhost: other")),
    "a NUL in a path": get(1, b"\x82\x87\x04\x03/\0a\x01\x06server"),
    "a value that begins with a space": get(1, FIELDS + literal(b"a", b" b")),
    "an unknown pseudo-header": get(1, FIELDS + literal(b":x", b"b")),
    "a response's pseudo-header": get(1, FIELDS + b"\x88"),
    "a pseudo-header behind a header": get(1, b"\x82\x84" + literal(b"a", b"b") + b"\x87"),
    "a repeated pseudo-header": get(1, FIELDS + b"\x84"),
    "no method": get(1, b"\x84\x87\x01\x06server"),
    "no path": get(1, b"\x82\x87\x01\x06server"),
    "an empty path": get(1, b"\x82\x87\x04\x00\x01\x06server"),
    "no scheme": get(1, b"\x82\x84\x01\x06server"),
    "another host than :authority": get(1, FIELDS + literal(b"host", b"other")),
    "connection": get(1, FIELDS + literal(b"connection", b"close")),
    "transfer-encoding": get(1, FIELDS + literal(b"transfer-encoding", b"chunked")),
    "te other than trailers": get(1, FIELDS + literal(b"te", b"gzip")),
    "a length and no body": get(1, FIELDS + literal(b"content-length", b"3")),
    "more body than announced": post(1, POST_FIELDS + literal(b"content-length", b"3")) + data(1, b"1234"),
    "less body than announced": post(1, POST_FIELDS + literal(b"content-length", b"3")) + data(1, b"12", end=True),
    "trailers that do not end the stream": post(1) + frame(frames.HEADERS, frames.END_HEADERS, 1, literal(b"a", b"b")),
    "trailers with a pseudo-header": post(1) + get(1, b"\x82"),
    "WINDOW_UPDATE of nothing": post(1) + frames.window_update(1, 0),
}


@pytest.mark.parametrize("what", ENDS_THE_STREAM)
async def test_it_ends_the_stream_alone(identity: Identity, what: str) -> None:
    async with serving(echo, identity) as at:
        heard = await say(at, ENDS_THE_STREAM[what])
        _, code = await heard.until(frames.RST_STREAM, 1)
        assert frames.read_word(code) == frames.PROTOCOL_ERROR
        assert not heard.of(frames.HEADERS, 1), "no handler has answered"
        await heard.transport.send_all(get(3))
        assert await heard.body(3) == b"GET /? "
        heard.transport.close()


async def test_a_window_that_overflows_ends_its_stream(identity: Identity) -> None:
    async with serving(echo, identity) as at:
        heard = await say(at, post(1), frames.window_update(1, 2**31 - 1), get(3))
        _, code = await heard.until(frames.RST_STREAM, 1)
        assert frames.read_word(code) == frames.FLOW_CONTROL_ERROR
        assert await heard.body(3) == b"GET /? "
        heard.transport.close()


async def test_data_behind_the_end_of_a_stream(identity: Identity) -> None:
    async with serving(echo, identity) as at:
        heard = await say(at, get(1))
        assert await heard.body(1) == b"GET /? "
        await heard.transport.send_all(data(1, b"x") + get(3))
        _, code = await heard.until(frames.RST_STREAM, 1)
        assert frames.read_word(code) == frames.STREAM_CLOSED
        assert await heard.body(3) == b"GET /? "
        heard.transport.close()


async def test_more_data_than_a_window(identity: Identity) -> None:
    async def unread(request: Request, responder: Responder) -> None:
        await trio.sleep_forever()

    async with serving(unread, identity) as at:
        heard = await say(at, post(1), *[data(1, bytes(16384))] * (limits.WIRE_STREAM_WINDOW_BYTES // 16384 + 1))
        _, goaway = await heard.until(frames.GOAWAY, 0)
        assert frames.read_word(goaway[4:]) == frames.FLOW_CONTROL_ERROR
        heard.transport.close()


async def test_what_is_allowed_or_ignored(identity: Identity) -> None:
    priority = b"\0\0\0\0\x10"
    async with serving(echo, identity) as at:
        heard = await say(
            at,
            frame(0x16, 0xFF, 0, b"unknown"),
            frames.settings({0x99: 7, frames.ENABLE_PUSH: 0, frames.MAX_FRAME_SIZE: 16384}),
            frame(frames.PING, 0, 0, b"12345678"),
            frame(frames.PING, frames.ACK, 0, b"87654321"),
            frame(frames.PRIORITY, 0, 7, priority),
            frame(frames.HEADERS, 0x2D, 1, b"\x03" + priority + FIELDS + b"\0\0\0"),
            post(3, POST_FIELDS + literal(b"te", b"trailers")),
            data(3, b"\x02ab\0\0", flags=frames.PADDED),
            data(3, b"cd"),
            frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 3, literal(b"checksum", b"1")),
            frame(frames.HEADERS, frames.END_STREAM, 5, FIELDS[:4]),
            frame(frames.CONTINUATION, 0, 5, FIELDS[4:7]),
            frame(frames.CONTINUATION, frames.END_HEADERS, 5, FIELDS[7:]),
            frames.window_update(1, 100),
            frame(frames.RST_STREAM, 0, 5, word(8)),
            get(7),
        )
        assert await heard.body(1) == b"GET /? "
        assert await heard.body(3) == b"POST /? abcd"
        assert await heard.body(7) == b"GET /? "
        assert heard.of(frames.PING, 0) == [(frames.ACK, b"12345678")]
        assert heard.of(frames.SETTINGS, 0)[1:] == [(frames.ACK, b"")] * 2
        assert not heard.of(frames.GOAWAY, 0) and not heard.of(frames.HEADERS, 5)
        heard.transport.close()


async def test_frames_cut_anywhere_mean_the_same(identity: Identity) -> None:
    said = frames.PREFACE + SETTINGS + post(1) + data(1, b"ab") + data(1, b"c", end=True) + get(3)
    async with serving(echo, identity) as at:
        heard = await say(at, begin=b"")
        for byte in said:
            await heard.transport.send_all(bytes((byte,)))
        assert await heard.body(1) == b"POST /? abc"
        assert await heard.body(3) == b"GET /? "
        heard.transport.close()


async def test_a_smaller_window_holds_for_streams_that_stand(identity: Identity) -> None:
    """RFC 9113, 6.9.2: the window may go below 0, and more is sent only once it is above."""
    go = trio.Event()

    async def handler(request: Request, responder: Responder) -> None:
        await responder.start(200, {})
        await responder.write(b"x" * 100)
        await go.wait()
        await responder.write(b"y" * 50)

    async with serving(handler, identity) as at:
        heard = await say(at, get(1))
        await heard.until(frames.DATA, 1)
        await heard.transport.send_all(frames.settings({frames.INITIAL_WINDOW_SIZE: 50}) + frame(frames.PING, 0, 0, bytes(8)))
        await heard.until(frames.PING, 0)
        go.set()
        await wait_all_tasks_blocked()
        await heard.transport.send_all(frames.window_update(1, 60) + frame(frames.PING, 0, 0, b"12345678"))
        with trio.fail_after(60):
            while len(heard.of(frames.PING, 0)) < 2 or len(heard.of(frames.DATA, 1)) < 2:
                assert await heard.more()
        assert [len(payload) for _, payload in heard.of(frames.DATA, 1)] == [100, 10]
        await heard.transport.send_all(frames.window_update(1, 1000))
        assert await heard.body(1) == b"x" * 100 + b"y" * 50
        heard.transport.close()


async def test_goaway_of_the_peer_lets_what_it_asked_be_answered(identity: Identity) -> None:
    go = trio.Event()

    async def handler(request: Request, responder: Responder) -> None:
        await go.wait()
        await responder.send(200, {}, b"late")

    async with serving(handler, identity) as at:
        heard = await say(at, get(1), frames.goaway(0, 0))
        await wait_all_tasks_blocked()
        go.set()
        assert await heard.body(1) == b"late"
        with trio.fail_after(60):
            while await heard.more():
                pass
        heard.transport.close()


async def test_resets_that_the_peer_provokes_are_calmed(identity: Identity) -> None:
    """CVE-2025-8671: the peer makes the server do the resetting."""
    async with serving(echo, identity) as at:
        heard = await say(at)
        try:
            for number in range(limits.WIRE_RESETS_BURST * 2):
                stream_id = 2 * number + 1
                await heard.transport.send_all(post(stream_id) + frames.window_update(stream_id, 0))
        except Disconnected:
            assert number > limits.WIRE_RESETS_BURST // 2
        _, goaway = await heard.until(frames.GOAWAY, 0)
        assert frames.read_word(goaway[4:]) == frames.ENHANCE_YOUR_CALM
        heard.transport.close()


async def test_a_handler_that_waits_holds_up_nobody(identity: Identity) -> None:
    """The task that reads becomes the waiting handler's own; another reads on, again and again."""
    gates: dict[str, trio.Event] = {}

    async def handler(request: Request, responder: Responder) -> None:
        if request.path != "/":
            gates[request.path] = trio.Event()
            await gates[request.path].wait()
        await responder.send(200, {}, request.path.encode())

    def waiting(stream_id: int) -> bytes:
        return get(stream_id, b"\x82\x04\x03/%02d\x87\x01\x06server" % stream_id)

    async with serving(handler, identity) as at:
        heard = await say(at, waiting(1), waiting(3), get(5), waiting(7))
        assert await heard.body(5) == b"/"
        await wait_all_tasks_blocked()
        for stream_id in (1, 3):
            gates[f"/{stream_id:02d}"].set()
            assert await heard.body(stream_id) == b"/%02d" % stream_id
            await heard.transport.send_all(get(2 * stream_id + 7) + waiting(2 * stream_id + 9))
            assert await heard.body(2 * stream_id + 7) == b"/"
        gates["/07"].set()
        assert await heard.body(7) == b"/07"
        heard.transport.close()


async def test_a_crowd_in_one_read_is_answered_in_order(identity: Identity) -> None:
    async with serving(echo, identity) as at:
        heard = await say(at, *[get(2 * n + 1) for n in range(200)])
        for n in range(200):
            assert await heard.body(2 * n + 1) == b"GET /? "
        ends = [stream for kind, flags, stream, _ in heard.frames if kind == frames.DATA and flags & frames.END_STREAM]
        assert ends == sorted(ends)
        heard.transport.close()


async def test_a_crowd_that_fills_the_buffer_goes_on_once_it_is_sent(identity: Identity) -> None:
    """More is queued in one turn than WIRE_UNSENT_BYTES_MAX, and the socket takes all of it at once."""
    body = bytes(60_000)

    async def handler(request: Request, responder: Responder) -> None:
        await responder.send(200, {}, body)

    wide = frames.settings({frames.INITIAL_WINDOW_SIZE: 1 << 20}) + frames.window_update(0, 1 << 24)
    async with serving(handler, identity) as at:
        heard = await say(at, wide, *[get(2 * n + 1) for n in range(40)])
        for n in range(40):
            assert await heard.body(2 * n + 1) == body
        heard.transport.close()
