"""Why a webhook could not be asked, in the words that people know from Kubernetes.

Enters: errors of sockets and TLS; an answer that is none.
Leaves: CallFailed.
Holds: pure. Whoever searches the web for the message finds it (sources: Go's net, net/http and crypto/tls as kube-apiserver shows
them; k8s.io/apimachinery errors.NewGenericServerResponse).
Next: registry.webhook_client raises it; registry.webhooks and CRD conversion tell.
"""

from __future__ import annotations

import errno
import json
import socket
import ssl
from typing import Final

#: OpenSSL's X509_V_ERR_* that mean: nobody whom we trust vouches for it.
_UNKNOWN_AUTHORITY: Final = frozenset({2, 18, 19, 20, 21})
_OUT_OF_TIME: Final = frozenset({9, 10})
_WRONG_NAME: Final = frozenset({62, 64})
#: Of an answer, in a message.
_TEXT_CHARACTERS_MAX: Final = 2048

_MESSAGES: Final = {
    400: "the server rejected our request for an unknown reason",
    401: "the server has asked for the client to provide credentials",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    409: "the server reported a conflict",
    422: "the server rejected our request due to an error in our request",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be processing the request",
}


class CallFailed(Exception):
    """``str()`` says why; ``code`` is what upstream's metrics count it under."""

    def __init__(self, why: str, code: int = 503) -> None:
        super().__init__(why)
        self.code = code


def of_dialling(error: OSError, address: str, server_name: str) -> str:
    """``address``: host and port. Go's words for what happened on the way to a connection."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: {_of_certificate(error, server_name)}"
    if isinstance(error, ssl.SSLError):
        return f"remote error: tls: {error.reason or error}".lower()
    if isinstance(error, socket.gaierror):
        return f"dial tcp: lookup {server_name}: no such host"
    number = _number_of(error)
    if number == errno.ECONNREFUSED:
        return f"dial tcp {address}: connect: connection refused"
    if number == errno.EHOSTUNREACH:
        return f"dial tcp {address}: connect: no route to host"
    if number == errno.ENETUNREACH:
        return f"dial tcp {address}: connect: network is unreachable"
    if isinstance(error, TimeoutError):
        return f"dial tcp {address}: i/o timeout"
    return f"dial tcp {address}: {error}"


def _number_of(error: BaseException) -> int | None:
    """The system's number of an error, which trio may have wrapped (one address tried after another)."""
    seen: BaseException | None = error
    while seen is not None:
        number = getattr(seen, "errno", None)
        if number is not None:
            return int(number)
        if isinstance(seen, BaseExceptionGroup):
            seen = seen.exceptions[0]
        else:
            seen = seen.__cause__
    return None


def _of_certificate(error: ssl.SSLCertVerificationError, server_name: str) -> str:
    code = getattr(error, "verify_code", 0)
    if code in _UNKNOWN_AUTHORITY:
        return "x509: certificate signed by unknown authority"
    if code in _OUT_OF_TIME or "expired" in str(error):
        return "x509: certificate has expired or is not yet valid"
    if code in _WRONG_NAME:
        return f"x509: certificate is not valid for {server_name}"
    return f"x509: {getattr(error, 'verify_message', '') or error}"


def of_answer(status: int, body: bytes, content_type: str) -> CallFailed:
    """An answer that is no success, as client-go puts it."""
    text = "unknown"
    if content_type.startswith("text/"):
        text = body[:_TEXT_CHARACTERS_MAX].decode("utf-8", "replace").strip()
    if status in (403, 415) or (status == 406 and text not in ("", "unknown")):
        return CallFailed(text, status)
    known = _MESSAGES.get(status)
    if known is not None:
        return CallFailed(known, status)
    if status >= 500:
        quoted = json.dumps(text, ensure_ascii=False)
        return CallFailed(f"an error on the server ({quoted}) has prevented the request from succeeding", status)
    return CallFailed(f"the server responded with the status code {status} but did not return more information", status)
