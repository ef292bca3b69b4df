"""Who issued a certificate, to whom, and for how long: read from its DER without a library of twelve megabytes.

Enters: a certificate that is our own or that TLS has verified: PEM or DER.
Leaves: CertificateFacts; ValueError for what is none.
Holds: pure; only fields of fixed place are read (the six first of TBSCertificate), nothing is verified here.
Source: RFC 5280, 4.1; X.690 for DER.
Next: daemon.renewal, daemon.certificates.
"""

from __future__ import annotations

import datetime
import hashlib
import re
import ssl
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18
_SEQUENCE: Final = 0x30
_SET: Final = 0x31
_OID: Final = 0x06
_UTF8_STRING: Final = 0x0C
#: id-at-commonName (2.5.4.3) and id-at-organizationName (2.5.4.10).
_COMMON_NAME: Final = b"\x55\x04\x03"
_ORGANIZATION: Final = b"\x55\x04\x0a"
_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class CertificateFacts(Struct, frozen=True):
    fingerprint: str  # SHA-256 of the DER, in hex
    issuer: bytes  # names as DER: equal names are equal bytes, because one program wrote both
    subject: bytes
    not_before: float  # seconds since the epoch
    not_after: float
    public_key: str  # SHA-256 of the SubjectPublicKeyInfo, in hex

    @property
    def life_seconds(self) -> float:
        return self.not_after - self.not_before


def facts_in_pem(pem: str) -> list[CertificateFacts]:
    """Of each certificate of a bundle, in order."""
    return [facts_of(ssl.PEM_cert_to_DER_cert(found)) for found in _CERTIFICATE.findall(pem)]


def facts_of(der: bytes) -> CertificateFacts:
    try:
        _, certificate, _ = _element(der, 0)
        _, tbs, _ = _element(certificate, 0)
        at = 0
        if tbs[0] == _VERSION:
            at = _element(tbs, 0)[2]
        parts: list[bytes] = []  # serial, algorithm, issuer, validity, subject, key: each with its header
        while len(parts) < 6:
            end = _element(tbs, at)[2]
            parts.append(tbs[at:end])
            at = end
        validity = _element(parts[3], 0)[1]
        begins = _element(validity, 0)
        ends = _element(validity, begins[2])
        return CertificateFacts(
            fingerprint=hashlib.sha256(der).hexdigest(),
            issuer=parts[2],
            subject=parts[4],
            not_before=_time(begins[0], begins[1]),
            not_after=_time(ends[0], ends[1]),
            public_key=hashlib.sha256(parts[5]).hexdigest(),
        )
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"not a certificate: {error}") from error


def name_of(common_name: str, organizations: Sequence[str]) -> bytes:
    """The DER of a subject as pki.authority writes it: the organizations in their order, then the common name."""
    parts = [(_ORGANIZATION, text) for text in organizations] + [(_COMMON_NAME, common_name)]
    names = [_der(_SET, _der(_SEQUENCE, _der(_OID, oid) + _der(_UTF8_STRING, text.encode()))) for oid, text in parts]
    return _der(_SEQUENCE, b"".join(names))


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + content


def _element(data: bytes, at: int) -> tuple[int, bytes, int]:
    """(tag, content, where the next one begins). ValueError when it is cut off."""
    tag, length, begin = data[at], data[at + 1], at + 2
    if length >= 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4:
            raise ValueError("not a certificate: a length that DER does not have")
        length, begin = int.from_bytes(data[begin : begin + count], "big"), begin + count
    end = begin + length
    if end > len(data):
        raise ValueError("not a certificate: it is cut off")
    return tag, data[begin:end], end


def _time(tag: int, text: bytes) -> float:
    digits = text.decode("ascii")
    if tag == _UTC_TIME:
        digits = ("19" if digits[:2] >= "50" else "20") + digits
    elif tag != _GENERALIZED_TIME:
        raise ValueError("not a certificate: no time where a time belongs")
    return datetime.datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=datetime.UTC).timestamp()
