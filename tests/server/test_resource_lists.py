"""The resource lists of discovery against what kube-apiserver v1.36 lists, written down here by hand."""

from __future__ import annotations

from typing import Final

from edgekube.api.kinds import ALL_VERBS, BUILT_IN
from tests.server.running import Api

#: Short names and categories, as kubectl api-resources -o wide shows them. What is not here has neither.
NAMES: Final = {
    "componentstatuses": ("cs", ""),
    "configmaps": ("cm", ""),
    "endpoints": ("ep", ""),
    "events": ("ev", ""),
    "limitranges": ("limits", ""),
    "namespaces": ("ns", ""),
    "nodes": ("no", ""),
    "persistentvolumeclaims": ("pvc", ""),
    "persistentvolumes": ("pv", ""),
    "pods": ("po", "all"),
    "replicationcontrollers": ("rc", "all"),
    "resourcequotas": ("quota", ""),
    "serviceaccounts": ("sa", ""),
    "services": ("svc", "all"),
    "mutatingadmissionpolicies": ("", "api-extensions"),
    "mutatingadmissionpolicybindings": ("", "api-extensions"),
    "mutatingwebhookconfigurations": ("", "api-extensions"),
    "validatingadmissionpolicies": ("", "api-extensions"),
    "validatingadmissionpolicybindings": ("", "api-extensions"),
    "validatingwebhookconfigurations": ("", "api-extensions"),
    "customresourcedefinitions": ("crd crds", "api-extensions"),
    "apiservices": ("", "api-extensions"),
    "daemonsets": ("ds", "all"),
    "deployments": ("deploy", "all"),
    "replicasets": ("rs", "all"),
    "statefulsets": ("sts", "all"),
    "horizontalpodautoscalers": ("hpa", "all"),
    "cronjobs": ("cj", "all"),
    "jobs": ("", "all"),
    "certificatesigningrequests": ("csr", ""),
    "ingresses": ("ing", ""),
    "ipaddresses": ("ip", ""),
    "networkpolicies": ("netpol", ""),
    "poddisruptionbudgets": ("pdb", ""),
    "priorityclasses": ("pc", ""),
    "storageclasses": ("sc", ""),
    "volumeattributesclasses": ("vac", ""),
}

#: Subresources: verbs, and the kind where it is not the resource's own.
CHANGED: Final = ("get patch update", "")
SUBRESOURCES: Final = {
    "namespaces/finalize": ("update", ""),
    "nodes/proxy": ("create delete get patch update", "v1 NodeProxyOptions"),
    "pods/attach": ("create get", "v1 PodAttachOptions"),
    "pods/binding": ("create", "v1 Binding"),
    "pods/ephemeralcontainers": CHANGED,
    "pods/eviction": ("create", "policy/v1 Eviction"),
    "pods/exec": ("create get", "v1 PodExecOptions"),
    "pods/log": ("get", ""),
    "pods/portforward": ("create get", "v1 PodPortForwardOptions"),
    "pods/proxy": ("create delete get patch update", "v1 PodProxyOptions"),
    "pods/resize": CHANGED,
    "serviceaccounts/token": ("create", "authentication.k8s.io/v1 TokenRequest"),
    "services/proxy": ("create delete get patch update", "v1 ServiceProxyOptions"),
    "certificatesigningrequests/approval": CHANGED,
    "deployments/scale": ("get patch update", "autoscaling/v1 Scale"),
    "replicasets/scale": ("get patch update", "autoscaling/v1 Scale"),
    "replicationcontrollers/scale": ("get patch update", "autoscaling/v1 Scale"),
    "statefulsets/scale": ("get patch update", "autoscaling/v1 Scale"),
}
WITH_STATUS: Final = (
    "namespaces nodes persistentvolumeclaims persistentvolumes pods replicationcontrollers resourcequotas services"
    " validatingadmissionpolicies customresourcedefinitions apiservices daemonsets deployments replicasets statefulsets"
    " horizontalpodautoscalers cronjobs jobs certificatesigningrequests flowschemas prioritylevelconfigurations ingresses"
    " servicecidrs poddisruptionbudgets resourceclaims volumeattachments"
)
VERBS: Final = {
    "bindings": ("create",),
    "componentstatuses": ("get", "list"),
    "namespaces": ("create", "delete", "get", "list", "patch", "update", "watch"),
    "selfsubjectreviews": ("create",),
    "tokenreviews": ("create",),
    "localsubjectaccessreviews": ("create",),
    "selfsubjectaccessreviews": ("create",),
    "selfsubjectrulesreviews": ("create",),
    "subjectaccessreviews": ("create",),
}


async def test_every_list(api: Api) -> None:
    below: set[str] = set()
    for path in sorted({f"/apis/{kind.group}/{kind.version}" if kind.group else "/api/v1" for kind in BUILT_IN}):
        listed = (await api.ask("GET", path)).json
        assert listed["groupVersion"] == path.removeprefix("/apis/").removeprefix("/api/")
        for entry in listed["resources"]:
            plural, _, subresource = entry["name"].partition("/")
            if subresource:
                below.add(entry["name"])
                verbs, kind = SUBRESOURCES.get(entry["name"], CHANGED)
                assert entry["verbs"] == verbs.split(), entry
                if kind:
                    api_version, _, name = kind.rpartition(" ")
                    group, _, version = api_version.rpartition("/")
                    shown = (entry.get("group", ""), entry.get("version", listed["groupVersion"].rpartition("/")[2]))
                    assert (entry["kind"], shown) == (name, (group, version)), entry
                continue
            short_names, category = NAMES.get(plural, ("", ""))
            assert entry.get("shortNames", []) == short_names.split(), entry
            assert entry.get("categories", []) == category.split(), entry
            assert tuple(entry["verbs"]) == VERBS.get(plural, ALL_VERBS), entry
            assert entry["singularName"] == entry["kind"].lower(), entry
    assert below == {*SUBRESOURCES, *(f"{plural}/status" for plural in WITH_STATUS.split())}
