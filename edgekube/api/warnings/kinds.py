"""What is told of kinds that are no pods and make none.

Enters: the new object, the old one on update.
Leaves: texts of warnings.
Source: pkg/api/{service,persistentvolume,persistentvolumeclaim,storage,node,job}, and the strategies of the kinds, of v1.36.
Next: api.warnings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from edgekube.api.objects import Object
from edgekube.api.validation.addresses import cidr_warnings, ip_warnings
from edgekube.api.validation.causes import quoted
from edgekube.api.validation.fields import items, number, part, same, text, texts
from edgekube.api.warnings import nodes
from edgekube.api.warnings.pods import of_claim_spec

_STORAGE_CLASS: Final = "volume.beta.kubernetes.io/storage-class"
_USE_STORAGE_CLASS: Final = 'deprecated since v1.8; use "storageClassName" attribute instead'
_OLD_VOLUME_ANNOTATIONS: Final = {
    _STORAGE_CLASS: _USE_STORAGE_CLASS,
    "volume.beta.kubernetes.io/mount-options": 'deprecated since v1.31; use "mountOptions" attribute instead',
}
_OLD_PERSISTENT: Final = {
    "cephfs": ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    "photonPersistentDisk": ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    "scaleIO": ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    "storageos": ("storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    "glusterfs": ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    "rbd": ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
}
_INGRESS_CLASS: Final = "kubernetes.io/ingress.class"
_TOPOLOGY_HINTS: Final = "service.kubernetes.io/topology-aware-hints"
_MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"
_OUR_SLICES: Final = ("endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io")
_COMPLETIONS: Final = 100_000
_PARALLELISM: Final = 10_000


def of_job_spec(obj: Object, path: str) -> Iterator[str]:
    """``path``: where in the object the spec of a Job stands."""
    spec = obj
    for step in path.split("."):
        spec = part(spec, step)
    if (
        spec.get("completionMode") == "Indexed"
        and number(spec, "completions") > _COMPLETIONS
        and number(spec, "parallelism") > _PARALLELISM
    ):
        yield (
            f"{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, "
            "Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
        )


def of_stateful_set(new: Object, old: Object | None) -> Iterator[str]:
    spec = part(new, "spec")
    for i, claim in enumerate(items(spec, "volumeClaimTemplates")):
        below = "" if old is None else ".Spec"  # upstream's two ways to name the place
        yield from of_claim_spec(part(claim, "spec"), f"spec.volumeClaimTemplates[{i}]{below}")
    if number(spec, "revisionHistoryLimit") < 0:
        yield "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"


def _of_service(service: Object, old: Object | None) -> Iterator[str]:
    spec = part(service, "spec")
    kind, external, balancer = text(spec, "type"), texts(spec, "externalIPs"), text(spec, "loadBalancerIP")
    headless = kind == "ClusterIP" and spec.get("clusterIP") == "None"
    if _TOPOLOGY_HINTS in part(part(service, "metadata"), "annotations"):
        yield f"annotation {_TOPOLOGY_HINTS} is deprecated, please use service.kubernetes.io/topology-mode instead"
    if spec.get("clusterIP") not in (None, "", "None"):
        for i, address in enumerate(texts(spec, "clusterIPs")):
            yield from ip_warnings(address, f"spec.clusterIPs[{i}]")
    if headless:
        for is_so, what in (
            (balancer, "loadBalancerIP"),
            (external, "externalIPs"),
            (spec.get("sessionAffinity") != "None", "SessionAffinity"),
        ):
            if is_so:
                yield f"spec.{what} is ignored for headless services"
    for i, address in enumerate(external):
        yield from ip_warnings(address, f"spec.externalIPs[{i}]")
    if external and not headless and kind != "ExternalName":
        yield "spec.externalIPs is deprecated and may no longer be implemented in some clusters"
    if balancer:
        yield from ip_warnings(balancer, "spec.loadBalancerIP")
    for i, cidr in enumerate(texts(spec, "loadBalancerSourceRanges")):
        yield from cidr_warnings(cidr, f"spec.loadBalancerSourceRanges[{i}]")
    if kind == "ExternalName" and external:
        yield 'spec.externalIPs is ignored when spec.type is "ExternalName"'
    if kind != "ExternalName" and text(spec, "externalName"):
        yield 'spec.externalName is ignored when spec.type is not "ExternalName"'
    if spec.get("trafficDistribution") == "PreferClose":
        yield 'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"'


def _of_volume(volume: Object, old: Object | None) -> Iterator[str]:
    spec, annotations = part(volume, "spec"), part(part(volume, "metadata"), "annotations")
    for key, words in _OLD_VOLUME_ANNOTATIONS.items():
        if key in annotations:
            yield f"metadata.annotations[{key}]: {words}"
    if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        yield (
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach "
            "is to use dynamic provisioning."
        )
    terms = items(part(part(spec, "nodeAffinity"), "required"), "nodeSelectorTerms")
    for i, term in enumerate(terms):
        yield from nodes.of_term(term, f"spec.nodeAffinity.required.nodeSelectorTerms[{i}]")
    for key, (shown, words) in _OLD_PERSISTENT.items():
        if spec.get(key) is not None:
            yield f"spec.{shown}: {words}"


def _of_claim(claim: Object, old: Object | None) -> Iterator[str]:
    if _STORAGE_CLASS in part(part(claim, "metadata"), "annotations"):
        yield f"metadata.annotations[{_STORAGE_CLASS}]: {_USE_STORAGE_CLASS}"
    yield from of_claim_spec(part(claim, "spec"), "spec")


def _of_node(node: Object, old: Object | None) -> Iterator[str]:
    spec = part(node, "spec")
    if spec.get("configSource") is not None:
        yield "spec.configSource: the feature is removed"
    if text(spec, "externalID"):
        yield "spec.externalID: this field is deprecated, and is unused by Kubernetes"
    for i, cidr in enumerate(texts(spec, "podCIDRs")):
        yield from cidr_warnings(cidr, f"spec.podCIDRs[{i}]")


def _of_endpoints(endpoints: Object, old: Object | None) -> Iterator[str]:
    for i, subset in enumerate(items(endpoints, "subsets")):
        for key in ("addresses", "notReadyAddresses"):
            for j, address in enumerate(items(subset, key)):
                yield from ip_warnings(text(address, "ip"), f"subsets[{i}].{key}[{j}].ip")


def _of_slice(endpoint_slice: Object, old: Object | None) -> Iterator[str]:
    if old is None and endpoint_slice.get("addressType") == "FQDN":
        yield "spec.addressType: FQDN endpoints are deprecated"
    if part(part(endpoint_slice, "metadata"), "labels").get(_MANAGED_BY) in _OUR_SLICES:
        return
    for i, endpoint in enumerate(items(endpoint_slice, "endpoints")):
        for j, address in enumerate(texts(endpoint, "addresses")):
            yield from ip_warnings(address, f"endpoints[{i}].addresses[{j}]")


def _of_network_policy(policy: Object, old: Object | None) -> Iterator[str]:
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for i, rule in enumerate(items(part(policy, "spec"), direction)):
            for j, peer in enumerate(items(rule, peers)):
                block, path = part(peer, "ipBlock"), f"spec.{direction}[{i}].{peers}[{j}].ipBlock"
                if block:
                    yield from cidr_warnings(text(block, "cidr"), f"{path}.cidr")
                for k, cidr in enumerate(texts(block, "except")):
                    yield from cidr_warnings(cidr, f"{path}.except[{k}]")


def _of_ingress(ingress: Object, old: Object | None) -> Iterator[str]:
    annotated = _INGRESS_CLASS in part(part(ingress, "metadata"), "annotations")
    if old is None and annotated and part(ingress, "spec").get("ingressClassName") is None:
        yield f"annotation \"{_INGRESS_CLASS}\" is deprecated, please use 'spec.ingressClassName' instead"


def _of_driver(driver: Object, old: Object | None) -> Iterator[str]:
    spec = part(driver, "spec")
    requests = items(spec, "tokenRequests")
    if old is not None and same(requests, items(part(old, "spec"), "tokenRequests")):
        return
    if requests and spec.get("serviceAccountTokenInSecrets") is None:
        yield (
            "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible "
            "logging of tokens in volume attributes"
        )


def _of_storage_class(storage_class: Object, old: Object | None) -> Iterator[str]:
    for i, term in enumerate(items(storage_class, "allowedTopologies")):
        for j, expression in enumerate(items(term, "matchLabelExpressions")):
            words = nodes.OLD_LABELS.get(text(expression, "key"))
            if words:
                yield f"allowedTopologies[{i}].matchLabelExpressions[{j}].key: {words}"


def _of_capacity(capacity: Object, old: Object | None) -> Iterator[str]:
    yield from nodes.of_label_selector(part(capacity, "nodeTopology"), "nodeTopology")


def _of_runtime_class(runtime_class: Object, old: Object | None) -> Iterator[str]:
    for key in part(part(runtime_class, "scheduling"), "nodeSelector"):
        if key in nodes.OLD_LABELS:
            yield f"scheduling.nodeSelector: {nodes.OLD_LABELS[key]}"


def _of_devices(resource_slice: Object, old: Object | None) -> Iterator[str]:
    driver = text(part(resource_slice, "spec"), "driver")
    if driver != driver.lower():
        yield f"spec.driver: driver names should be lowercase; {quoted(driver)} contains uppercase characters"


BY_KIND: Final[dict[tuple[str, str], Callable[[Object, Object | None], Iterator[str]]]] = {
    ("", "Endpoints"): _of_endpoints,
    ("", "Node"): _of_node,
    ("", "PersistentVolume"): _of_volume,
    ("", "PersistentVolumeClaim"): _of_claim,
    ("", "Service"): _of_service,
    ("discovery.k8s.io", "EndpointSlice"): _of_slice,
    ("networking.k8s.io", "Ingress"): _of_ingress,
    ("networking.k8s.io", "NetworkPolicy"): _of_network_policy,
    ("node.k8s.io", "RuntimeClass"): _of_runtime_class,
    ("resource.k8s.io", "ResourceSlice"): _of_devices,
    ("storage.k8s.io", "CSIDriver"): _of_driver,
    ("storage.k8s.io", "CSIStorageCapacity"): _of_capacity,
    ("storage.k8s.io", "StorageClass"): _of_storage_class,
}
