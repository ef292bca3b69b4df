"""Names of images as pods write them, and the words of events about pulls.

Enters: what stands at ``image:`` and ``imagePullPolicy:``, seconds, bytes.
Leaves: the full name, the policy that holds, messages.
Holds: pure; the words are the kubelet's, for people search for them.
Next: agent.images.pulling.
"""

from __future__ import annotations

from edgekube.agent.images.keyring import repository_of
from edgekube.containerd.reference import normalize

_NAME_CHARACTERS_MAX = 255


class InvalidName(ValueError):
    """Not the name of an image; the text is what status and event say."""


def full_name(reference: str) -> str:
    """Registry, path, and tag or digest. Raises InvalidName."""
    try:
        return normalize(reference)
    except ValueError:
        why = "invalid reference format"
        if reference != reference.lower() and _is_name(reference.lower()):
            why = "invalid reference format: repository name must be lowercase"
        elif len(repository_of(reference)) > _NAME_CHARACTERS_MAX:
            why = f"repository name must not be more than {_NAME_CHARACTERS_MAX} characters"
        raise InvalidName(
            f"Failed to apply default image tag {quoted(reference)}: couldn't parse image name {quoted(reference)}: {why}"
        ) from None


def _is_name(reference: str) -> bool:
    try:
        normalize(reference)
    except ValueError:
        return False
    return True


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped) + '"'


def default_policy(reference: str) -> str:
    """Always for :latest or no tag, else IfNotPresent (the API's own default, for pods that were never defaulted)."""
    if "@" in reference:
        return "IfNotPresent"
    name = reference.rsplit("/", 1)[-1]
    return "Always" if ":" not in name or name.endswith(":latest") else "IfNotPresent"


def took(seconds: float) -> str:
    """Go's way to print a duration that was cut to milliseconds: 0s, 83ms, 1.5s, 2m3.04s."""
    milliseconds = max(0, int(seconds * 1000))
    if milliseconds == 0:
        return "0s"
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if minutes == 0:
        return text
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}"
