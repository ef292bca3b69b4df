"""Watches that stay open, many on one HTTP/2 connection as Go clients keep them."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

import h2.config
import h2.connection
import h2.events

_STREAMS_PER_CONNECTION: Final = 100


@contextmanager
def held_watches(context: ssl.SSLContext, host: str, port: int, paths: Sequence[str]) -> Iterator[None]:
    """Each has been answered with 200 when the block begins."""
    context.set_alpn_protocols(["h2"])
    with ExitStack() as stack:
        for begin in range(0, len(paths), _STREAMS_PER_CONNECTION):
            raw = socket.create_connection((host, port), timeout=60)
            tls = stack.enter_context(context.wrap_socket(raw, server_hostname=host))
            _open(tls, host, paths[begin : begin + _STREAMS_PER_CONNECTION])
        yield


def _open(tls: ssl.SSLSocket, host: str, paths: Sequence[str]) -> None:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    for path in paths:
        headers = [(":method", "GET"), (":scheme", "https"), (":authority", host), (":path", path)]
        connection.send_headers(connection.get_next_available_stream_id(), headers, end_stream=True)
    tls.sendall(connection.data_to_send())
    answered = 0
    while answered < len(paths):
        for event in connection.receive_data(tls.recv(65536)):
            if isinstance(event, h2.events.ResponseReceived):
                status = dict(event.headers)[b":status"]
                assert status == b"200", f"a watch is answered with {status!r}"
                answered += 1
            assert not isinstance(event, h2.events.StreamReset), "the server refuses a watch"
        tls.sendall(connection.data_to_send())
