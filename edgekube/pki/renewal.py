"""When a node asks for new certificates.

Enters: the certificate that it holds, the authorities that it trusts, which of them signs now; the time.
Leaves: why it should ask now, or when it will have to.
Holds: pure. A third of the life is left when the first may ask and a sixth when the last must, so that nodes that joined together
do not come together, and that a server may be away for two months.
Next: daemon.renewal asks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from edgekube.pki.certificate_facts import CertificateFacts


def spread_of(node_name: str) -> float:
    """Where in the time for renewals a node's own moment lies: from 0 to 1, the same whenever it is asked."""
    return int.from_bytes(hashlib.sha256(node_name.encode()).digest()[:4], "big") / (1 << 32)


def renewal_at(held: CertificateFacts, spread: float) -> float:
    """Seconds since the epoch."""
    return held.not_after - held.life_seconds / 3 + spread * held.life_seconds / 6


def authority_of(held: CertificateFacts, trusted: Sequence[CertificateFacts]) -> CertificateFacts | None:
    """Who signed it, by name: authorities have names of their own."""
    return next((authority for authority in trusted if authority.subject == held.issuer), None)


def why_renew(held: CertificateFacts, trusted: Sequence[CertificateFacts], signing: str, now: float, spread: float) -> str:
    """ "" when there is no reason. ``signing``: fingerprint of the authority that signs; "" when it is not known."""
    if now > held.not_after:
        return "it has expired"
    if now >= renewal_at(held, spread):
        return "most of its life is over"
    authority = authority_of(held, trusted)
    if authority is None:
        return "its authority is trusted no longer"
    if signing and authority.fingerprint != signing and any(each.fingerprint == signing for each in trusted):
        return "another authority signs now"
    return ""
