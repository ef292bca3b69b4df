"""Which standard a namespace holds its pods to.

Enters: a namespace's labels.
Leaves: a Policy (enforce, audit, warn), and a Cause for each label that cannot be read.
Holds: pure; a label of enforce that cannot be read counts as restricted, one of audit or warn as privileged.
Source: kubernetes.io/docs/concepts/security/pod-security-admission; k8s.io/pod-security-admission api.
Next: admission.pod_security.admit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from edgekube.api.errors import Cause

PREFIX: Final = "pod-security.kubernetes.io/"
PRIVILEGED: Final = "privileged"
BASELINE: Final = "baseline"
RESTRICTED: Final = "restricted"
_LEVELS: Final = (PRIVILEGED, BASELINE, RESTRICTED)
#: "latest" is newer than any version there will be.
LATEST: Final = 1 << 31
_VERSION: Final = re.compile(r"v1\.(0|[1-9][0-9]{0,8})", re.ASCII)


class Standard(NamedTuple):
    level: str
    minor: int = LATEST

    def __str__(self) -> str:
        return f"{self.level}:{'latest' if self.minor == LATEST else f'v1.{self.minor}'}"

    def is_stricter_than(self, other: Standard) -> bool:
        return _LEVELS.index(self.level) > _LEVELS.index(other.level)


class Policy(NamedTuple):
    enforce: Standard = Standard(PRIVILEGED)
    audit: Standard = Standard(PRIVILEGED)
    warn: Standard = Standard(PRIVILEGED)


#: What holds where no label says otherwise, and all that most namespaces ever need.
DEFAULT: Final = Policy()


def policy_of(labels: Mapping[str, str]) -> tuple[Policy, list[Cause]]:
    if not any(key.startswith(PREFIX) for key in labels):
        return DEFAULT, []
    causes: list[Cause] = []
    enforce = _standard(labels, "enforce", RESTRICTED, causes)
    audit = _standard(labels, "audit", PRIVILEGED, causes)
    warn = _standard(labels, "warn", PRIVILEGED, causes)
    if f"{PREFIX}warn" not in labels and labels.get(f"{PREFIX}enforce") in _LEVELS and enforce.is_stricter_than(warn):
        # Who enforces wants to be told early, too: by his Deployments and not only by their pods.
        warn = Standard(enforce.level, warn.minor if f"{PREFIX}warn-version" in labels else enforce.minor)
    return Policy(enforce, audit, warn), causes


def _standard(labels: Mapping[str, str], mode: str, unreadable: str, causes: list[Cause]) -> Standard:
    level = labels.get(f"{PREFIX}{mode}", PRIVILEGED)
    if level not in _LEVELS:
        causes.append(_cause(mode, level, f"must be one of {', '.join(_LEVELS)}"))
        level = unreadable
    text = labels.get(f"{PREFIX}{mode}-version", "latest")
    match = _VERSION.fullmatch(text)
    if match is None and text != "latest":
        causes.append(_cause(f"{mode}-version", text, 'must be "latest" or "v1.x"'))
    return Standard(level, int(match[1]) if match is not None else LATEST)


def _cause(label: str, value: str, why: str) -> Cause:
    return Cause("FieldValueInvalid", f'Invalid value: "{value}": {why}', f"metadata.labels[{PREFIX}{label}]")
