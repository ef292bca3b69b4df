"""The ReplicaSet of a Deployment's template, as it is first written.

Enters: a Deployment, and what its ReplicaSet shall be called and sized.
Leaves: the object, and the annotations that ReplicaSets carry for their Deployment.
Holds: selector, labels and template carry the hash, so that pods of two templates are never mixed up.
Next: controller.
"""

from __future__ import annotations

from typing import Any

import orjson

from edgekube.api.kinds import DEPLOYMENT, REPLICASET
from edgekube.api.objects import Object, annotations_of, namespace_of, spec_of
from edgekube.api.ownership import controller_reference
from edgekube.controllers.deployment import facts


def copied_annotations(deployment: Object) -> dict[str, str]:
    """The Deployment's own, such as kubernetes.io/change-cause."""
    return {key: value for key, value in annotations_of(deployment).items() if key not in facts.NOT_COPIED}


def size_annotations(deployment: Object) -> dict[str, str]:
    """What the ReplicaSet was sized for: proportional scaling compares with it."""
    wanted = facts.replicas_of(deployment)
    return {facts.DESIRED: str(wanted), facts.MAXIMUM: str(wanted + facts.max_surge(deployment))}


def replicaset(deployment: Object, name: str, digest: str, size: int, revision: str) -> Object:
    spec = spec_of(deployment)
    template: Object = orjson.loads(orjson.dumps(facts.template_of(deployment)))
    metadata = template.setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), facts.HASH_LABEL: digest}
    selector: Object = orjson.loads(orjson.dumps(spec.get("selector") or {}))
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), facts.HASH_LABEL: digest}
    body: dict[str, Any] = {"replicas": size, "selector": selector, "template": template}
    if spec.get("minReadySeconds"):
        body["minReadySeconds"] = spec["minReadySeconds"]
    return {
        "apiVersion": REPLICASET.api_version,
        "kind": REPLICASET.kind,
        "metadata": {
            "name": name,
            "namespace": namespace_of(deployment),
            "labels": metadata["labels"],
            "annotations": copied_annotations(deployment) | size_annotations(deployment) | {facts.REVISION: revision},
            "ownerReferences": [controller_reference(DEPLOYMENT, deployment)],
        },
        "spec": body,
    }
