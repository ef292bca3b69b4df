"""TLS contexts: what the listeners offer and what our clients insist on, and the one judgement of who the peer is.

Enters: paths (or bytes) of certificates and keys; the clock.
Leaves: ssl.SSLContext values; ServerTls and ClientTls, which swap theirs when certificates rotate; after a handshake, the Peer.
Holds: TLS 1.2 or newer; a client certificate is optional but, when shown, verified against the client CA; a server is always
verified against an explicit CA unless the caller spells out that it is not. No other module builds a context, and whoever trusts
a peer's certificate has it from ``peer_of``: OpenSSL judges chain, purpose and name, wire.validity the time.
Next: wire.transport.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from edgekube.wire.validity import PeerClock, SystemClock, Validity, Verdict, judge

log = logging.getLogger("edgekube.wire")

ALPN_HTTP2: Final = "h2"
ALPN_HTTP1: Final = "http/1.1"

#: X509_V_FLAG_NO_CHECK_TIME (openssl/x509_vfy.h): OpenSSL takes certificates of any age. Only for a context whose peers
#: ``peer_of`` judges.
_DANGEROUS_ANY_AGE: Final = ssl.VerifyFlags(0x200000)
_SYSTEM_CLOCK: Final = SystemClock()


class Peer(NamedTuple):
    """Who is at the other end, as far as TLS knows."""

    certificate: bytes | None  # DER; None: it showed none
    issuer: Any
    not_after: float
    verdict: Verdict

    def trusted(self, context: ssl.SSLContext) -> bool:
        """Whether an authority that is trusted today vouches for it: it may have been dropped since the handshake."""
        return not isinstance(context, TimelessContext) or self.issuer in context.authorities

    def in_time(self, context: ssl.SSLContext) -> bool:
        return not isinstance(context, TimelessContext) or context.clock() <= self.not_after


class TimelessContext(ssl.SSLContext):
    """A context that verifies everything but time, which ``peer_of`` then judges."""

    clock: PeerClock
    authorities: dict[Any, list[Validity]]

    def leave_time_to_us(self, clock: PeerClock) -> None:
        """Once the authorities are loaded."""
        self.verify_flags |= _DANGEROUS_ANY_AGE
        self.clock = clock
        self.authorities = {}
        for authority in self.get_ca_certs():
            self.authorities.setdefault(authority["subject"], []).append(_validity(authority))


class ForeignContext(TimelessContext):
    """For servers that are none of the cluster's: any link of the chain may have signed, and their certificates say nothing
    about what time it is."""


def _validity(certificate: Any) -> Validity:
    return Validity(ssl.cert_time_to_seconds(certificate["notBefore"]), ssl.cert_time_to_seconds(certificate["notAfter"]))


def validities_of_authorities(path: Path | None = None, pem: str | None = None) -> list[Validity]:
    """Of the authorities in PEM, without loading all of cryptography for a date. OSError when there are none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=path, cadata=pem)
    return [_validity(authority) for authority in context.get_ca_certs()]


def peer_of(context: ssl.SSLContext, connection: ssl.SSLObject) -> Peer:
    """Judge the certificate of a connection whose handshake is done. A certificate under our authority that begins in the future
    raises the clock's floor."""
    shown = connection.getpeercert(True)
    if shown is None or context.verify_mode == ssl.CERT_NONE:
        return Peer(shown, None, 0.0, Verdict.STRANGER)
    if not isinstance(context, TimelessContext):
        raise TypeError("a context that wire.tls did not make")
    decoded: Any = connection.getpeercert()
    validity = _validity(decoded)
    now = context.clock()
    if isinstance(context, ForeignContext):
        verdict = Verdict.EXPIRED if now > validity.not_after else Verdict.VALID
        return Peer(shown, decoded["issuer"], validity.not_after, verdict)
    verdict, earliest = judge(validity, context.authorities.get(decoded["issuer"], ()), now)
    if earliest > now:
        context.clock.raise_floor(earliest, "a peer's certificate")
    return Peer(shown, decoded["issuer"], validity.not_after, verdict)


def server_context(
    cert_path: Path | str,
    key_path: Path | str,
    client_ca_path: Path | str | None = None,
    *,
    clock: PeerClock = _SYSTEM_CLOCK,
) -> TimelessContext:
    """What a listener presents. ``client_ca_path``: ask for client certificates and verify those that come (CERT_OPTIONAL)."""
    context = TimelessContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    # One ticket, not OpenSSL's two: each costs a signature-sized write in every handshake.
    context.num_tickets = 1
    context.set_alpn_protocols([ALPN_HTTP2, ALPN_HTTP1])
    context.load_cert_chain(cert_path, key_path)
    if client_ca_path is not None:
        context.load_verify_locations(cafile=client_ca_path)
        context.verify_mode = ssl.CERT_OPTIONAL
    context.leave_time_to_us(clock)
    return context


def client_context(
    ca_path: Path | str | None = None,
    ca_data: bytes | None = None,
    cert_path: Path | str | None = None,
    key_path: Path | str | None = None,
    *,
    clock: PeerClock = _SYSTEM_CLOCK,
) -> TimelessContext:
    """Verifies the server against this CA alone (PEM); shows a client certificate if one is given. ValueError without a CA."""
    if ca_path is None and not ca_data:
        raise ValueError("a CA is needed to verify the server")
    context = TimelessContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([ALPN_HTTP1])
    context.load_verify_locations(cafile=ca_path, cadata=ca_data.decode("ascii") if ca_data else None)
    if cert_path is not None:
        context.load_cert_chain(cert_path, key_path)
    context.leave_time_to_us(clock)
    return context


def foreign_client_context(ca_data: bytes | None = None, *, clock: PeerClock = _SYSTEM_CLOCK) -> ForeignContext:
    """Verifies a server that is no part of the cluster: against these certificates (PEM), or without any against those that
    the machine trusts. ssl.SSLError when this is no PEM."""
    context = ForeignContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([ALPN_HTTP1])
    # A server's own certificate may be what is trusted, without an authority (Go's pools of roots allow it).
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if ca_data:
        context.load_verify_locations(cadata=ca_data.decode("ascii", "replace"))
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    context.leave_time_to_us(clock)
    return context


def unverified_client_context() -> ssl.SSLContext:
    """Trusts whoever answers. For HTTPS probes only, where Kubernetes documents that certificates are not verified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([ALPN_HTTP1])
    return context


class _Followed:
    """Files that are looked at before each use. What is there when they change in the middle of a rotation (a new key whose
    certificate is not there yet) is passed over: the context that was good stays until they fit again."""

    __slots__ = ("_context", "_make", "_paths", "_seen")

    def __init__(self, make: Callable[[], TimelessContext], *paths: Path | str | None) -> None:
        self._make = make
        self._paths = tuple(path for path in paths if path is not None)
        self._seen = self._look()
        self._context = make()

    def _look(self) -> tuple[tuple[int, int, int], ...]:
        """OSError when one is missing."""
        return tuple((status.st_mtime_ns, status.st_ino, status.st_size) for status in map(os.stat, self._paths))

    @property
    def context(self) -> TimelessContext:
        """What new connections get."""
        try:
            if self._look() != self._seen:
                self.reload()
        except OSError as error:  # ssl.SSLError is an OSError
            log.warning("certificates that changed cannot be used (yet), keeping the old ones why=%r", str(error))
        return self._context

    def reload(self) -> None:
        """Read the files again, changed or not. When they are unreadable or do not match, raises and the old context stays."""
        seen = self._look()
        replaced, made = self._context, self._make()
        # All that ever stood share one table of authorities: who is at the other end of a connection is believed only as long
        # as his authority is trusted.
        table = replaced.authorities
        now = made.authorities.copy()
        table.clear()
        table.update(now)
        made.authorities = table
        self._context, self._seen = made, seen


class ServerTls(_Followed):
    """A listener's context. Connections that stand keep the one they began with when certificates rotate."""

    __slots__ = ()

    def __init__(
        self,
        cert_path: Path | str,
        key_path: Path | str,
        client_ca_path: Path | str | None = None,
        *,
        clock: PeerClock = _SYSTEM_CLOCK,
    ) -> None:
        def make() -> TimelessContext:
            return server_context(cert_path, key_path, client_ca_path, clock=clock)

        super().__init__(make, cert_path, key_path, client_ca_path)


class ClientTls(_Followed):
    """The same for connections that we make; a Target calls it for each new one."""

    __slots__ = ()

    def __init__(
        self,
        ca_path: Path | str,
        cert_path: Path | str | None = None,
        key_path: Path | str | None = None,
        *,
        clock: PeerClock = _SYSTEM_CLOCK,
    ) -> None:
        def make() -> TimelessContext:
            return client_context(ca_path, None, cert_path, key_path, clock=clock)

        super().__init__(make, ca_path, cert_path, key_path)

    def __call__(self) -> ssl.SSLContext:
        return self.context


def fits(cert_path: Path | str, key_path: Path | str) -> None:
    """Raises OSError (ssl.SSLError is one) when this is no certificate, or not that of the key."""
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert_path, key_path)
