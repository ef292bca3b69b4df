"""HTTP/2, the server's side of one connection (RFC 9113): its life, and the handlers of its streams.

Enters: bytes of a Transport that negotiated ``h2``.
Leaves: one handler call per stream; responses interleaved under both flow-control windows.
Holds: no stream is owed more than WIRE_UNSENT_BYTES_MAX of memory by a peer that does not read; a reset or a lost peer cancels
the handlers; what is against the protocol ends the stream or the connection, as the RFC says which.
Bound: WIRE_STREAMS_MAX handlers; floods of resets and of control frames end in GOAWAY ENHANCE_YOUR_CALM.
Next: wire.http2_reading takes the bytes apart, wire.http2_incoming says what they mean, wire.http2_outgoing frames the answers,
wire.http2_outbox sends them; the handler is server.app.

One task leads: it reads, has frames taken apart, and runs each complete request's handler itself. Most handlers end without
waiting, and then their answers leave together in one TLS record, without a second task and a second turn of the event loop for
any of them. A handler that waits (a watch, a write that waits for the disk) keeps its task, and another task takes the lead at
that moment. Why there is no library here: docs/adr/0001-own-http2-framing.md.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Final

import trio

from edgekube import limits
from edgekube.wire import frames
from edgekube.wire.answers import Refused
from edgekube.wire.connection import Shell, only, refusal_of
from edgekube.wire.http2_floods import Allowance
from edgekube.wire.http2_incoming import Incoming
from edgekube.wire.http2_outbox import Outbox
from edgekube.wire.http2_outgoing import Outgoing
from edgekube.wire.http2_reading import FrameReader
from edgekube.wire.http2_stream import Http2Stream
from edgekube.wire.protocol import Disconnected
from edgekube.wire.stepping import notice_waiting
from edgekube.wire.transport import Transport

log = logging.getLogger("edgekube.wire")

#: Requests answered before other connections get their turn.
_TURN_REQUESTS: Final = 16


class Http2Connection:
    """Runs until the peer or the server closes, or misbehaviour ends it."""

    def __init__(self, shell: Shell, transport: Transport) -> None:
        self.shell = shell
        self.transport = transport
        self._scope = trio.CancelScope()
        self._nursery: trio.Nursery
        self._streams: dict[int, Http2Stream] = {}
        control = Allowance("control frames", limits.WIRE_CONTROL_FRAMES_BURST, limits.WIRE_CONTROL_FRAMES_PER_SECOND)
        self._outbox = Outbox(transport, self._streams, self._scope)
        self._outgoing = Outgoing(transport, self._outbox, control)
        self._incoming = Incoming(self._streams, self._outgoing, self._outbox, control)
        self._reader = FrameReader(self._incoming, control)
        #: Tasks that could lead.
        self._spare = trio.lowlevel.ParkingLot()
        self._linger_bytes = limits.WIRE_LINGER_BYTES_MAX
        # What the sweep looks at: no clock is read for a request.
        self._began = trio.current_time()
        self._swept = (-1, 0)
        self._swept_since = self._began

    # --- life --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        self._outgoing.greet()
        try:
            with self._scope:
                async with trio.open_nursery() as self._nursery:
                    self._outbox.nursery = self._nursery
                    await self._lead()
        except BaseExceptionGroup as group:
            _, rest = group.split(Disconnected)
            if rest is not None:  # the server's own cancellation may be in it
                raise rest from None
        finally:
            self.transport.close()

    async def _lead(self) -> None:
        """A task's life: it leads until a handler that it runs waits, then serves that alone, then stands by to lead again."""
        with trio.CancelScope() as scope:
            while True:
                if not await self._turn(scope):
                    if self._spare or scope.cancel_called:
                        return
                    await self._spare.park()

    def _give_lead(self) -> None:
        """The handler that the leader runs is about to wait."""
        self._outbox.leading = False
        if self._spare:
            self._spare.unpark()
        else:
            self._nursery.start_soon(self._lead)

    async def _turn(self, scope: trio.CancelScope) -> bool:
        """Answer what is ready, send, read. False: somebody else leads now."""
        ready, outbox = self._incoming.ready, self._outbox
        outbox.leading = True
        left = _TURN_REQUESTS
        while ready:
            if not left:
                outbox.flush()
                await trio.lowlevel.checkpoint()
                left = _TURN_REQUESTS
            left -= 1
            stream = ready.popleft()
            stream.scope = scope
            if await notice_waiting(self._serve(stream), self._give_lead):
                return False
        outbox.leading = False
        outbox.flush()
        while outbox.unsent_bytes > limits.WIRE_UNSENT_BYTES_MAX:
            await outbox.room.park()  # answers to pings pile up: read no more until the peer does
        data = await self.transport.receive_some()
        if data:
            outbox.leading = True
            self._take(data)
        else:
            self._scope.cancel()
        return True

    def _take(self, data: bytes) -> None:
        if self._outbox.closing:
            self._linger_bytes -= len(data)
            if self._linger_bytes < 0:
                self._scope.cancel()
            return
        try:
            self._reader.read(data)
        except frames.Violation as violation:
            log.info("HTTP/2 violation code=%d why=%r peer=%s", violation.code, str(violation), self.transport.peer)
            self._outbox.queue(frames.goaway(self._incoming.last_stream_id, violation.code))
            self._incoming.abandon()
            self._outbox.close()

    # --- one stream --------------------------------------------------------------------------------------------------

    async def _serve(self, stream: Http2Stream) -> None:
        try:
            if stream.reset:
                return
            if stream.refused is not None:
                await self._answer(stream, stream.refused)
                return
            try:
                await self.shell.handler(stream.request, stream)
                if not stream.started:
                    raise RuntimeError("the handler did not answer")
                if not stream.ended:
                    await stream.end()
            except Exception as error:
                await self._failed(stream, error)
            await self._linger(stream)
        except Disconnected:
            pass
        except Exception:  # in the error's answer itself: this stream is reset, the others live
            log.exception("answer failed path=%s peer=%s", stream.request.path, self.transport.peer)
        finally:
            self._done(stream)

    async def _linger(self, stream: Http2Stream) -> None:
        """Throw away for a while what still comes of a request that has its answer. A reset at once is allowed (RFC 9113, 8.1),
        but clients that are about to send the body (curl 7.88) take it for a fault, and do not show the answer."""
        if not stream.ended or stream.body_complete or stream.expects_continue or self._outbox.closing:
            return
        left = limits.WIRE_LINGER_BYTES_MAX
        with trio.move_on_after(limits.WIRE_LINGER_SECONDS), contextlib.suppress(Refused):
            while left > 0 and (piece := await stream.receive_some()):
                left -= len(piece)

    async def _failed(self, stream: Http2Stream, error: Exception) -> None:
        if only(error, Disconnected) is not None:
            return
        refused = refusal_of(error, stream.request)
        if not stream.started:
            await self._answer(stream, refused)

    async def _answer(self, stream: Http2Stream, refused: Refused) -> None:
        content_type, body = self.shell.error_body(refused.status, refused.message)
        await stream.send(refused.status, {"content-type": content_type}, body)

    def _done(self, stream: Http2Stream) -> None:
        del self._streams[stream.id]
        if not self._outbox.closing:
            self._outgoing.leave(stream)
        if not self._streams and (self._incoming.draining or self._outbox.closing):
            self._outbox.close()

    # --- the server's side -------------------------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        state = (self._incoming.last_stream_id, len(self._streams))
        if not self._reader.settings_seen:
            if now - self._began >= limits.WIRE_HEAD_SECONDS:
                self._scope.cancel()
        elif state != self._swept:
            self._swept = state
            self._swept_since = now
        elif not self._streams and now - self._swept_since >= limits.WIRE_IDLE_SECONDS:
            self.start_draining()

    def start_draining(self) -> None:
        """GOAWAY: what was begun is finished, what comes is refused."""
        if self._incoming.draining:
            return
        self._incoming.draining = True
        self._outbox.queue(frames.goaway(self._incoming.last_stream_id, frames.NO_ERROR))
        if not self._streams:
            self._outbox.closing = True
        try:
            self._outbox.wake_flusher()
        except RuntimeError:  # the nursery has seen its last task, and the connection is about to end by itself
            self._scope.cancel()

    def cut(self) -> None:
        self._scope.cancel()
