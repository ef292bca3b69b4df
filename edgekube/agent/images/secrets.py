"""The pull secrets of a pod, in the order in which it names them.

Enters: a pod; the Secrets that this node follows.
Leaves: Secrets; an event about those that are missing.
Holds: a pull is tried without what is missing, as public images need nothing; ConfigProblem while the API does not answer.
Next: agent.images.keyring.
"""

from __future__ import annotations

from edgekube.agent.context import NodeContext
from edgekube.agent.problems import ConfigProblem
from edgekube.api.kinds import SECRET
from edgekube.api.objects import Object, namespace_of, spec_of


async def pull_secrets(node: NodeContext, pod: Object) -> list[Object]:
    found: list[Object] = []
    missing: list[str] = []
    for reference in spec_of(pod).get("imagePullSecrets") or []:
        name = reference.get("name") or ""
        try:
            secret = await node.references.get(SECRET, namespace_of(pod), name) if name else None
        except TimeoutError as error:
            raise ConfigProblem(str(error)) from None
        if secret is None:
            missing.append(name)
        else:
            found.append(secret)
    if missing:
        names = ", ".join(missing)
        message = f"Unable to retrieve some image pull secrets ({names}); attempting to pull the image may not succeed."
        node.event(pod, "Warning", "FailedToRetrieveImagePullSecret", message)
    return found
