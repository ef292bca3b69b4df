"""Whether a board may join by its serial number alone, and using that up.

Enters: a serial number that a machine says it has.
Leaves: the entry that allows it; once taken, it allows nobody else.
Holds: the Secret's revision decides between two that ask at once; only one gets it.
Next: api.allowed_serials; server.pairing_door asks.
"""

from __future__ import annotations

from typing import Final

from edgekube.api import errors
from edgekube.api.allowed_serials import NAME, NAMESPACE, AllowedSerial, as_secret, from_secret, key_of, normal
from edgekube.api.errors import StatusError
from edgekube.api.kinds import SECRET
from edgekube.api.objects import Object
from edgekube.api.verbs import Verbs

#: Each race has a winner: a rack of so many machines may ask at once.
_ATTEMPTS_MAX: Final = 64


class AllowedSerials:
    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs

    async def find(self, serial: str) -> AllowedSerial | None:
        secret = await self._secret() if normal(serial) else None
        return from_secret(secret).get(key_of(serial)) if secret is not None else None

    async def take(self, serial: str) -> bool:
        """Use the entry up. False when somebody else did."""
        for _ in range(_ATTEMPTS_MAX):
            secret = await self._secret()
            entries = from_secret(secret) if secret is not None else {}
            if secret is None or entries.pop(key_of(serial), None) is None:
                return False
            try:
                await self._verbs.update(SECRET, as_secret(entries.values(), secret))
                return True
            except StatusError as error:
                if error.reason not in ("Conflict", "NotFound"):
                    raise
        raise errors.too_many_requests("many machines join by their serial numbers at once, please try again")

    async def _secret(self) -> Object | None:
        try:
            return await self._verbs.get(SECRET, NAMESPACE, NAME)
        except StatusError as error:
            if error.reason != "NotFound":
                raise
            return None
