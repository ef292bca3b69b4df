"""What a pod's people are told of attaching.

Enters: a volume, its attachment, the pods that wait for it.
Leaves: events in upstream's words.
Holds: a pod that already runs is told nothing: its volume was attached before.
Next: controllers.volumes.attaching.
"""

from __future__ import annotations

from collections.abc import Iterator

from edgekube.api import attachment, podstate
from edgekube.api.calls import Call, Record
from edgekube.api.objects import Object, name_of, namespace_of


def attach_events(volume: Object, made: Object, pods: list[Object], *, news: bool) -> Iterator[Call]:
    """Of an attachment that is there: that it is done, when that is ``news``; or why it is not."""
    waiting = [pod for pod in pods if podstate.phase_of(pod) in ("", "Pending")]
    error = ((made.get("status") or {}).get("attachError") or {}).get("message")
    for pod in waiting:
        if attachment.is_attached(made) and news:
            message = f'AttachVolume.Attach succeeded for volume "{name_of(volume)}" '
            yield Record(pod, "Normal", "SuccessfulAttachVolume", message)
        elif error and not attachment.is_attached(made):
            message = f'AttachVolume.Attach failed for volume "{name_of(volume)}" : {error}'
            yield Record(pod, "Warning", "FailedAttachVolume", message)


def refusal_events(volume: Object, pods: list[Object], others: list[Object]) -> Iterator[Call]:
    """The volume is for one node at a time, and another one has it. ``others``: the pods there."""
    for pod in pods:
        here = [name_of(other) for other in others if namespace_of(other) == namespace_of(pod)]
        elsewhere = len(others) - len(here)
        if here:
            why = f"Volume is already used by pod(s) {', '.join(sorted(here))}"
            why += f" and {elsewhere} pod(s) in different namespaces" if elsewhere else ""
        elif elsewhere:
            why = f"Volume is already used by {elsewhere} pod(s) in different namespaces"
        else:
            why = "Volume is already exclusively attached to one node and can't be attached to another"
        yield Record(pod, "Warning", "FailedAttachVolume", f'Multi-Attach error for volume "{name_of(volume)}" {why}')
