"""TLS contexts: what the listeners offer and what our clients insist on.

Enters: paths (or bytes) of certificates and keys.
Leaves: ssl.SSLContext values, and ServerTls, which swaps its context when certificates rotate.
Holds: TLS 1.2 or newer; a client certificate is optional but, when shown, verified against the client CA; a server is always
verified against an explicit CA unless the caller spells out that it is not.
Next: wire.transport.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

ALPN_HTTP2: Final = "h2"
ALPN_HTTP1: Final = "http/1.1"


def server_context(cert_path: Path | str, key_path: Path | str, client_ca_path: Path | str | None = None) -> ssl.SSLContext:
    """What a listener presents. ``client_ca_path``: ask for client certificates and verify those that come (CERT_OPTIONAL)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    # One ticket, not OpenSSL's two: each costs a signature-sized write in every handshake.
    context.num_tickets = 1
    context.set_alpn_protocols([ALPN_HTTP2, ALPN_HTTP1])
    context.load_cert_chain(cert_path, key_path)
    if client_ca_path is not None:
        context.load_verify_locations(cafile=client_ca_path)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def client_context(
    ca_path: Path | str | None = None,
    ca_data: bytes | None = None,
    cert_path: Path | str | None = None,
    key_path: Path | str | None = None,
) -> ssl.SSLContext:
    """Verifies the server against this CA alone (PEM); shows a client certificate if one is given. ValueError without a CA."""
    if ca_path is None and not ca_data:
        raise ValueError("a CA is needed to verify the server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([ALPN_HTTP1])
    context.load_verify_locations(cafile=ca_path, cadata=ca_data.decode("ascii") if ca_data else None)
    if cert_path is not None:
        context.load_cert_chain(cert_path, key_path)
    return context


def unverified_client_context() -> ssl.SSLContext:
    """Trusts whoever answers. For HTTPS probes only, where Kubernetes documents that certificates are not verified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([ALPN_HTTP1])
    return context


class ServerTls:
    """The context that new connections get. ``reload`` swaps it; connections that stand keep the one they began with."""

    __slots__ = ("_cert_path", "_client_ca_path", "_key_path", "context")

    def __init__(self, cert_path: Path | str, key_path: Path | str, client_ca_path: Path | str | None = None) -> None:
        self._cert_path = cert_path
        self._key_path = key_path
        self._client_ca_path = client_ca_path
        self.context = server_context(cert_path, key_path, client_ca_path)

    def reload(self) -> None:
        """Read the files again. When they are unreadable or do not match, raises and the old context stays in use."""
        self.context = server_context(self._cert_path, self._key_path, self._client_ca_path)
