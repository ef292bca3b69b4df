"""The cluster's authority as the signer of signing requests.

Enters: a request that was approved, the usages it was approved for, the time.
Leaves: a certificate, as PEM.
Holds: never an authority's certificate; which requests may be signed is decided elsewhere.
Next: controllers.certificates.signing.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping

from edgekube.pki.authority import Authority
from edgekube.pki.requests import Requested


class RequestSigner:
    def __init__(
        self, authority: Callable[[], Authority], key_usages: Mapping[str, str], extended_usages: Mapping[str, str]
    ) -> None:
        """``authority`` is asked each time, for it may be replaced. The mappings are the API's words for usages in X.509's."""
        self._authority = authority
        self._key_usages = key_usages
        self._extended_usages = extended_usages

    def __call__(self, requested: Requested, usages: Iterable[str], wall_seconds: float, lifetime_seconds: int) -> bytes:
        from cryptography.x509 import ObjectIdentifier

        asked = list(usages)
        return self._authority().sign_request(
            requested.csr,
            key_usages=frozenset(self._key_usages[usage] for usage in asked if usage in self._key_usages),
            extended_usages=[ObjectIdentifier(self._extended_usages[usage]) for usage in asked if usage in self._extended_usages],
            now=datetime.datetime.fromtimestamp(wall_seconds, datetime.UTC),
            lifetime=datetime.timedelta(seconds=lifetime_seconds),
        )
