"""The cluster's authority, and the one that replaces it: which signs what, and whom everybody trusts meanwhile.

Enters: the directory of the authority; begin, sign_with_new and finish, each when whoever calls it knows that it is time.
Leaves: the authority that signs, the one under which the server shows itself, and the bundle of those that are trusted.
Holds: the phase is one small file, replaced at once, and the truth; a power cut at any moment of a step leaves a step that is
finished at the next start or was never begun. The server shows itself under the old authority until that is dropped: whoever
trusts only the old one (a pod that read its CA at start, a laptop's kubeconfig) is served during the whole overlap.
Next: daemon.certificates; ADR 22.

    settled ──begin──▶ trusting ──sign_with_new──▶ signing ──finish──▶ (finishing) ──▶ settled
    trusts   old        old new                     old new             new
    signs    old        old                         new                 new
    serves   old        old                         old                 new
"""

from __future__ import annotations

import datetime
import hashlib
import json
from enum import Enum
from pathlib import Path
from typing import Final

from edgekube.pki.authority import Authority, AuthorityDamaged, load_or_create_authority
from edgekube.pki.files import PRIVATE, PUBLIC, write_durably

#: What clients and listeners verify by.
BUNDLE: Final = "ca-bundle.crt"
_STATE: Final = "ca-rotation.json"
_NEXT: Final = "ca-next"


class Phase(Enum):
    SETTLED = "settled"
    TRUSTING = "trusting"
    SIGNING = "signing"
    FINISHING = "finishing"


class Authorities:
    """One for each server process; ``open_authorities`` makes it."""

    def __init__(self, directory: Path, now: datetime.datetime) -> None:
        self._directory = directory
        self.phase, self.began = self._read_state()
        if self.phase is Phase.FINISHING:
            self._replace()
        self._old = load_or_create_authority(directory, now=now)
        self._new: Authority | None = None
        if self.phase is Phase.SETTLED:
            self._forget_next()
        else:
            self._new = self._load_next(now)
        self._write_bundle()

    @property
    def directory(self) -> Path:
        return self._directory

    @property
    def bundle_path(self) -> Path:
        return self._directory / BUNDLE

    @property
    def bundle(self) -> bytes:
        """PEM of all that are trusted, the one that the server shows itself under first."""
        return b"".join(authority.certificate_pem for authority in self.trusted)

    @property
    def trusted(self) -> tuple[Authority, ...]:
        return (self._old,) if self._new is None else (self._old, self._new)

    @property
    def serving(self) -> Authority:
        """Signs what the API server shows."""
        return self._old

    @property
    def signing(self) -> Authority:
        """Signs everything else."""
        return self._new if self._new is not None and self.phase is Phase.SIGNING else self._old

    @property
    def newest(self) -> Authority:
        return self._new or self._old

    def begin(self, now: datetime.datetime) -> None:
        """Make the new authority, to be trusted beside the old one. Does nothing when there is one already."""
        if self.phase is not Phase.SETTLED:
            return
        self._forget_next()
        self._new = load_or_create_authority(self._directory, now=now, stem=_NEXT)
        self._write_state(Phase.TRUSTING, now)
        self._write_bundle()

    def sign_with_new(self, now: datetime.datetime) -> None:
        """Once everybody who is there trusts the new one."""
        if self.phase is Phase.TRUSTING:
            self._write_state(Phase.SIGNING, now)

    def finish(self, now: datetime.datetime) -> None:
        """Drop the old one: what it signed is refused from the moment the listeners have read the bundle."""
        if self.phase is not Phase.SIGNING or self._new is None:
            return
        self._write_state(Phase.FINISHING, now)
        self._replace()
        self._old, self._new = self._new, None
        self._write_bundle()

    def _replace(self) -> None:
        """May be cut off anywhere and done again: the state says so until the end."""
        for ending, mode in (("key", PRIVATE), ("crt", PUBLIC)):
            source, target = self._directory / f"{_NEXT}.{ending}", self._directory / f"ca.{ending}"
            data = source.read_bytes()
            if not target.exists() or target.read_bytes() != data:
                write_durably(target, data, mode)
        (self._directory / _STATE).unlink()
        self.phase, self.began = Phase.SETTLED, ""
        self._forget_next()

    def _forget_next(self) -> None:
        """The key last, so that no certificate is ever without its key."""
        for ending in ("crt", "key"):
            (self._directory / f"{_NEXT}.{ending}").unlink(missing_ok=True)

    def _load_next(self, now: datetime.datetime) -> Authority:
        if not (self._directory / f"{_NEXT}.crt").exists():
            raise AuthorityDamaged(
                f"{self._directory / _STATE} says that the authority is being replaced, but {_NEXT}.crt is not there: "
                "restore both from a backup, or remove the state file to keep the old authority"
            )
        return load_or_create_authority(self._directory, now=now, stem=_NEXT)

    def _read_state(self) -> tuple[Phase, str]:
        path = self._directory / _STATE
        try:
            state = json.loads(path.read_bytes())
            return Phase(state["phase"]), str(state["began"])
        except FileNotFoundError:
            return Phase.SETTLED, ""
        except (ValueError, KeyError, TypeError) as error:
            raise AuthorityDamaged(f"{path} cannot be read: {error}") from error

    def _write_state(self, phase: Phase, now: datetime.datetime) -> None:
        self.began = self.began or now.strftime("%Y-%m-%dT%H:%M:%SZ")
        state = {"phase": phase.value, "began": self.began}
        write_durably(self._directory / _STATE, json.dumps(state).encode() + b"\n", PUBLIC)
        self.phase = phase

    def _write_bundle(self) -> None:
        try:
            if self.bundle_path.read_bytes() == self.bundle:
                return
        except OSError:
            pass
        write_durably(self.bundle_path, self.bundle, PUBLIC)


def fingerprint(authority: Authority) -> str:
    """SHA-256 of the certificate's DER, in hex: what join tokens pin, and what nodes say that they trust."""
    from cryptography.hazmat.primitives.serialization import Encoding

    return hashlib.sha256(authority.certificate.public_bytes(Encoding.DER)).hexdigest()
