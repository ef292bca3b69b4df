"""The pod of an ordinal, and the claims it needs.

Enters: a StatefulSet, a template, an ordinal, the name of the template's revision.
Leaves: the pod and its PersistentVolumeClaims as they are first written.
Holds: a claim is named by template, set and ordinal, so the pod that comes after finds the same storage.
Next: stepping.
"""

from __future__ import annotations

import orjson

from edgekube.api.kinds import STATEFULSET
from edgekube.api.objects import Object, name_of, namespace_of, spec_of
from edgekube.api.ownership import controller_reference
from edgekube.api.revisions import POD_LABEL
from edgekube.controllers.statefulset.identity import labels_for, pod_name


def claim_templates(stateful: Object) -> list[Object]:
    return spec_of(stateful).get("volumeClaimTemplates") or []


def claim_name(stateful: Object, template: Object, ordinal: int) -> str:
    return f"{name_of(template)}-{name_of(stateful)}-{ordinal}"


def claims_for(stateful: Object, ordinal: int) -> dict[str, Object]:
    """The claims by the name of their template, which is the name of the pod's volume."""
    selected = (spec_of(stateful).get("selector") or {}).get("matchLabels") or {}
    claims: dict[str, Object] = {}
    for template in claim_templates(stateful):
        claim: Object = orjson.loads(orjson.dumps(template))
        metadata = claim["metadata"]
        metadata["name"] = claim_name(stateful, template, ordinal)
        metadata["namespace"] = namespace_of(stateful)
        labels = {**(metadata.get("labels") or {}), **selected}
        if labels:
            metadata["labels"] = labels
        claim.pop("status", None)
        claims[name_of(template)] = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **claim}
    return claims


def storage_matches(stateful: Object, pod: Object, ordinal: int) -> bool:
    """The pod's volumes are the claims of its ordinal."""
    volumes = {each.get("name"): each for each in spec_of(pod).get("volumes") or ()}
    return all(
        ((volumes.get(name_of(template)) or {}).get("persistentVolumeClaim") or {}).get("claimName")
        == claim_name(stateful, template, ordinal)
        for template in claim_templates(stateful)
    )


def pod_for(stateful: Object, template: Object, ordinal: int, revision: str) -> Object:
    """``template`` is that of the revision; the claims are always those of now."""
    template = orjson.loads(orjson.dumps(template))
    of_template = template.get("metadata") or {}
    name = pod_name(stateful, ordinal)
    metadata: Object = {
        "name": name,
        "generateName": f"{name_of(stateful)}-",
        "namespace": namespace_of(stateful),
        "labels": {**(of_template.get("labels") or {}), **labels_for(stateful, ordinal), POD_LABEL: revision},
        "ownerReferences": [controller_reference(STATEFULSET, stateful)],
    }
    for part in ("annotations", "finalizers"):
        if of_template.get(part):
            metadata[part] = of_template[part]
    spec: Object = template.get("spec") or {}
    spec["hostname"] = name
    service = spec_of(stateful).get("serviceName")
    if service:
        spec["subdomain"] = service
    else:
        spec.pop("subdomain", None)
    claimed: list[Object] = [
        {"name": volume, "persistentVolumeClaim": {"claimName": name_of(claim)}}
        for volume, claim in claims_for(stateful, ordinal).items()
    ]
    taken = {each["name"] for each in claimed}
    volumes = claimed + [each for each in spec.get("volumes") or () if each.get("name") not in taken]
    if volumes:
        spec["volumes"] = volumes
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
