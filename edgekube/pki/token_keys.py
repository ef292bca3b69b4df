"""The key that signs service account tokens, and those that signed before and are still believed.

Enters: the directory of the keys; rotate and drop; the time.
Leaves: the key that signs; a public key by its id.
Holds: the key that is replaced is kept, its public half only, before the new one signs: a power cut between leaves one key more,
never a token that nobody can verify. A retired key is believed until it is dropped, or until its last token is out of date.
Next: pki.tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from edgekube import limits
from edgekube.pki.files import PUBLIC, write_durably
from edgekube.pki.tokens import TokenKey, new_key, public_pem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

log = logging.getLogger("edgekube")

_RETIRED: Final = "sa-retired"


class RetiredKey(Struct, frozen=True):
    key_id: str
    public: EllipticCurvePublicKey
    retired_at: float


class TokenKeys:
    def __init__(self, signing: TokenKey, retired: tuple[RetiredKey, ...] = (), directory: Path | None = None) -> None:
        self.signing = signing
        self.retired = retired
        self._directory = directory

    @classmethod
    def load_or_create(cls, directory: Path) -> TokenKeys:
        """Raises OSError, or ValueError that names the file."""
        signing = TokenKey.load_or_create(directory)
        paths = sorted((directory / _RETIRED).glob("*.pub"))
        # A retired key that still signs is what a power cut before the new one leaves.
        retired = tuple(key for key in map(_load, paths) if key.key_id != signing.key_id)
        return cls(signing, retired, directory)

    def public(self, key_id: str) -> EllipticCurvePublicKey | None:
        """Of the key that signed a token; None when it is not (or no longer) believed."""
        if key_id == self.signing.key_id:
            return self.signing.public
        return next((key.public for key in self.retired if key.key_id == key_id), None)

    def publics(self) -> dict[str, EllipticCurvePublicKey]:
        """All that are believed, by id, the one that signs first."""
        return {self.signing.key_id: self.signing.public, **{key.key_id: key.public for key in self.retired}}

    def rotate(self, now: float) -> None:
        """Sign with a new key from now on. Raises OSError."""
        assert self._directory is not None
        old = self.signing
        name = f"{int(now)}-{old.key_id}.pub"
        write_durably(self._directory / _RETIRED / name, public_pem(old.public), PUBLIC)
        self.signing = new_key(self._directory)
        self.retired = (*self.retired, RetiredKey(old.key_id, old.public, float(int(now))))
        log.info("service account tokens are signed by a new key kid=%s old=%s", self.signing.key_id, old.key_id)

    def drop(self, is_due: Callable[[RetiredKey], bool] = lambda key: True) -> int:
        """Believe the retired keys no longer (those that are due); how many. Raises OSError."""
        assert self._directory is not None
        due = [key for key in self.retired if is_due(key)]
        self.retired = tuple(key for key in self.retired if key not in due)
        for key in due:
            for path in (self._directory / _RETIRED).glob(f"*-{key.key_id}.pub"):
                path.unlink()
            log.info("a retired key of service account tokens is dropped kid=%s", key.key_id)
        return len(due)

    def drop_outlived(self, now: float) -> int:
        """Drop those whose last token is out of date."""
        return self.drop(lambda key: now - key.retired_at > limits.TOKEN_LIFE_SECONDS_MAX)


def _load(path: Path) -> RetiredKey:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    moment, _, key_id = path.stem.partition("-")
    public = serialization.load_pem_public_key(path.read_bytes())
    if not isinstance(public, ec.EllipticCurvePublicKey) or not moment.isdigit():
        raise ValueError(f"{path} is not a retired ECDSA key")
    return RetiredKey(key_id, public, float(moment))
