"""Volumes of a pod: names, one source each, and what each source needs.

Enters: the volumes of a PodSpec; sources that persistent volumes share.
Leaves: causes appended to ``out``, and the good volumes by name for the mounts to refer to.
Holds: sources whose in-tree drivers are gone are checked for their required fields only.
Source: core/validation ValidateVolumes, validateVolumeSource and the functions it calls.
Next: api.validation.podspec, api.validation.storage.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from edgekube.api import names
from edgekube.api.objects import Object
from edgekube.api.validation import causes
from edgekube.api.validation.fields import (
    Out,
    check,
    check_descending_path,
    check_file_mode,
    check_local_path,
    check_no_backsteps,
    check_present,
    dns_label,
    dns_subdomain,
    items,
    part,
    text,
)
from edgekube.api.validation.metadata import check_label_selector
from edgekube.api.validation.resources import amount
from edgekube.api.validation.variables import FIELDS_IN_FILES, check_field_ref, check_resource_field_ref

_PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")
_HOST_PATH_TYPES: Final = (
    "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
)  # fmt: skip
_CACHING_MODES: Final = ("None", "ReadOnly", "ReadWrite")
_AZURE_KINDS: Final = ("Dedicated", "Managed", "Shared")
_AZURE_MANAGED_URI: Final = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
_AZURE_BLOB_URI: Final = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"
_TENANT_BYTES_MAX: Final = 64
_HOST_PORT_RE: Final = re.compile(r"([^:\[\]]*|\[[^\[\]]*\]):[^:\[\]]*")
_TOKEN_SECONDS_MIN: Final = 600
_TOKEN_SECONDS_MAX: Final = 2**32

#: Where upstream names a volume type otherwise.
NAMED_OTHERWISE: Final = {"gcePersistentDisk": "persistentDisk"}
#: Where it names a second one otherwise.
MISNAMED: Final = {"cephfs": "cephFS", "downwardAPI": "downwarAPI"}
#: Volume type -> fields that must be there, for types that need no more thought.
REQUIRED: Final[dict[str, tuple[str, ...]]] = {
    "awsElasticBlockStore": ("volumeID",),
    "azureFile": ("secretName", "shareName"),
    "cephfs": ("monitors",),
    "cinder": ("volumeID",),
    "csi": ("driver",),
    "gcePersistentDisk": ("pdName",),
    "glusterfs": ("endpoints", "path"),
    "iscsi": ("targetPortal", "iqn"),
    "persistentVolumeClaim": ("claimName",),
    "photonPersistentDisk": ("pdID",),
    "portworxVolume": ("volumeID",),
    "rbd": ("monitors", "image"),
    "scaleIO": ("gateway", "system", "volumeName"),
    "vsphereVolume": ("volumePath",),
}
#: All, in upstream's order: of several, the first is looked at.
_TYPES: Final = (
    "emptyDir", "hostPath", "gitRepo", "gcePersistentDisk", "awsElasticBlockStore", "secret", "nfs", "iscsi", "glusterfs",
    "flocker", "persistentVolumeClaim", "rbd", "cinder", "cephfs", "quobyte", "downwardAPI", "fc", "flexVolume", "configMap",
    "azureFile", "vsphereVolume", "photonPersistentDisk", "portworxVolume", "azureDisk", "storageos", "projected", "scaleIO",
    "csi", "ephemeral", "image",
)  # fmt: skip
_TYPE_ORDER: Final = {key: i for i, key in enumerate(_TYPES)}


def check_volumes(out: Out, spec: Object, pod_name: str, field: str, *, is_pod: bool) -> dict[str, Object]:
    """``pod_name`` is "" in templates. The volumes without faults, by name."""
    good: dict[str, Object] = {}
    volumes = items(spec, "volumes")
    made = {f"{pod_name}-{text(volume, 'name')}" for volume in volumes if pod_name and volume.get("ephemeral") is not None}
    for i, volume in enumerate(volumes):
        path, name, before = f"{field}[{i}]", text(volume, "name"), len(out)
        _check_source(out, volume, name, pod_name, path, is_pod=is_pod)
        if not name:
            out.append(causes.required(f"{path}.name"))
        else:
            check(out, dns_label(name), f"{path}.name", name)
        if name in good:
            out.append(causes.duplicate(f"{path}.name", name))
        if len(out) == before:
            good[name] = volume
        claim = part(volume, "persistentVolumeClaim").get("claimName")
        if claim in made:
            detail = "must not reference a PVC that gets created for an ephemeral volume"
            out.append(causes.invalid(f"{path}.persistentVolumeClaim.claimName", claim, detail))
    return good


def _check_source(out: Out, volume: Object, name: str, pod_name: str, field: str, *, is_pod: bool) -> None:
    types = [key for key, value in volume.items() if value is not None and key in _TYPE_ORDER]
    if len(types) > 1:
        types.sort(key=_TYPE_ORDER.__getitem__)
    if not types:
        out.append(causes.required(field, "must specify a volume type"))
        return
    for key in types[1:]:
        out.append(causes.forbidden(f"{field}.{MISNAMED.get(key, key)}", "may not specify more than 1 volume type"))
    kind = types[0]
    source, path = volume[kind], f"{field}.{NAMED_OTHERWISE.get(kind, kind)}"
    if kind == "ephemeral":
        _check_ephemeral(out, source, path)
        if pod_name and name:
            claim = f"{pod_name}-{name}"
            for message in dns_subdomain(claim):
                out.append(causes.invalid(f"{field}.name", name, f'PVC name "{claim}": {message}'))
    elif kind == "image":
        if is_pod and not text(source, "reference"):
            out.append(causes.required(f"{path}.reference"))
        policy = text(source, "pullPolicy")
        if policy not in _PULL_POLICIES:
            out.append(causes.not_supported(f"{path}.pullPolicy", policy, _PULL_POLICIES))
    else:
        check_source(out, kind, source, path)


def check_source(out: Out, kind: str, source: Object, field: str) -> None:
    """One volume source, in a pod or in a persistent volume."""
    special = _SPECIAL.get(kind)
    if special is not None:
        special(out, source, field)
        return
    for key in REQUIRED.get(kind, ()):
        check_present(out, source, key, field)
    partition = source.get("partition")
    if isinstance(partition, int) and not 0 <= partition <= 255:
        out.append(causes.invalid(f"{field}.partition", partition, names.outside(1, 255)))


def _check_azure_disk(out: Out, source: Object, field: str) -> None:
    for key in ("diskName", "diskURI"):
        check_present(out, source, key, field)
    for key, known in (("cachingMode", _CACHING_MODES), ("kind", _AZURE_KINDS)):
        if source.get(key) is not None and source[key] not in known:
            out.append(causes.not_supported(f"{field}.{key}", source[key], known))
    uri, managed = text(source, "diskURI"), source.get("kind") == "Managed"
    if source.get("kind") is not None and not uri.startswith("/subscriptions/" if managed else "https://"):
        out.append(causes.not_supported(f"{field}.diskURI", uri, (_AZURE_MANAGED_URI if managed else _AZURE_BLOB_URI,)))


def _check_quobyte(out: Out, source: Object, field: str) -> None:
    pairs = "must be a host:port pair or multiple pairs separated by commas"
    registry = text(source, "registry")
    if not registry:
        out.append(causes.required(f"{field}.registry", pairs))
    elif len(text(source, "tenant").encode()) > _TENANT_BYTES_MAX:
        detail = f"must be a UUID and may not exceed a length of {_TENANT_BYTES_MAX} characters"
        out.append(causes.required(f"{field}.tenant", detail))
    else:
        for pair in registry.split(","):
            if not _HOST_PORT_RE.fullmatch(pair):
                out.append(causes.invalid(f"{field}.registry", registry, pairs))
    check_present(out, source, "volume", field)


def _check_flex_volume(out: Out, source: Object, field: str) -> None:
    check_present(out, source, "driver", field)
    for key in part(source, "options"):
        domain = key.partition("/")[0]
        if f".{domain.lower()}".endswith((".kubernetes.io", ".k8s.io")):
            detail = "kubernetes.io and k8s.io namespaces are reserved"
            out.append(causes.invalid(f"{field}.options[{key}]", key, detail))


def _check_empty_dir(out: Out, source: Object, field: str) -> None:
    limit = amount(source["sizeLimit"]) if source.get("sizeLimit") is not None else None
    if limit is not None and limit < 0:
        out.append(causes.forbidden(f"{field}.sizeLimit", "SizeLimit field must be a valid resource quantity"))


def _check_host_path(out: Out, source: Object, field: str) -> None:
    if check_present(out, source, "path", field):
        check_no_backsteps(out, source["path"], f"{field}.path")
        kind = source.get("type")
        if kind is not None and kind not in _HOST_PATH_TYPES:
            out.append(causes.not_supported(f"{field}.type", kind, _HOST_PATH_TYPES))


def _check_git_repo(out: Out, source: Object, field: str) -> None:
    check_present(out, source, "repository", field)
    check_descending_path(out, text(source, "directory"), f"{field}.directory")


def _check_nfs(out: Out, source: Object, field: str) -> None:
    check_present(out, source, "server", field)
    check_present(out, source, "path", field)
    path = text(source, "path")
    if not path.startswith("/"):
        out.append(causes.invalid(f"{field}.path", path, "must be an absolute path"))


def _check_flocker(out: Out, source: Object, field: str) -> None:
    if not source.get("datasetName") and not source.get("datasetUUID"):
        out.append(causes.required(field, "one of datasetName and datasetUUID is required"))


def _check_fc(out: Out, source: Object, field: str) -> None:
    if not source.get("targetWWNs") and not source.get("wwids"):
        detail = "must specify either targetWWNs or wwids, but not both"
        out.append(causes.required(f"{field}.targetWWNs", detail))
    elif source.get("targetWWNs") and source.get("wwids"):
        detail = "targetWWNs and wwids can not be specified simultaneously"
        out.append(causes.invalid(f"{field}.targetWWNs", source["targetWWNs"], detail))
    if source.get("targetWWNs") and source.get("lun") is None:
        out.append(causes.required(f"{field}.lun", "lun is required if targetWWNs is specified"))


def _check_storage_os(out: Out, source: Object, field: str) -> None:
    if text(source, "volumeName"):
        check(out, dns_label(text(source, "volumeName")), f"{field}.volumeName", text(source, "volumeName"))
    else:
        out.append(causes.required(f"{field}.volumeName"))


def _check_secret(out: Out, source: Object, field: str) -> None:
    check_present(out, source, "secretName", field)
    check_file_mode(out, source, "defaultMode", field)
    _check_keys(out, source, field)


def _check_config_map(out: Out, source: Object, field: str) -> None:
    check_present(out, source, "name", field)
    check_file_mode(out, source, "defaultMode", field)
    _check_keys(out, source, field)


def _check_keys(out: Out, source: Object, field: str) -> None:
    for i, item in enumerate(items(source, "items")):
        path = f"{field}.items[{i}]"
        check_present(out, item, "key", path)
        check_present(out, item, "path", path)
        check_local_path(out, text(item, "path"), f"{path}.path")
        check_file_mode(out, item, "mode", path)


def _check_downward_api(out: Out, source: Object, field: str) -> None:
    check_file_mode(out, source, "defaultMode", field)
    for file in items(source, "items"):
        _check_downward_file(out, file, field)


def _check_downward_file(out: Out, file: Object, field: str) -> None:
    check_present(out, file, "path", field)
    check_local_path(out, text(file, "path"), f"{field}.path")
    field_ref, resource_ref = file.get("fieldRef"), file.get("resourceFieldRef")
    if field_ref is not None:
        check_field_ref(out, field_ref, FIELDS_IN_FILES, f"{field}.fieldRef")
        if resource_ref is not None:
            detail = "fieldRef and resourceFieldRef can not be specified simultaneously"
            out.append(causes.invalid(field, "resource", detail))
    elif resource_ref is not None:
        check_resource_field_ref(out, resource_ref, f"{field}.resourceFieldRef", in_file=True)
    else:
        out.append(causes.required(field, "one of fieldRef and resourceFieldRef is required"))
    check_file_mode(out, file, "mode", field)


def _check_projected(out: Out, source: Object, field: str) -> None:
    check_file_mode(out, source, "defaultMode", field)
    seen: set[str] = set()

    def take(path: str, value: Any) -> None:
        if path and path in seen:
            out.append(causes.invalid(field, value, "conflicting duplicate paths"))
        seen.add(path)

    for i, projection in enumerate(items(source, "sources")):
        path, count = f"{field}.sources[{i}]", 0
        for key in ("secret", "configMap"):
            if projection.get(key) is not None:
                count += 1
                check_present(out, projection[key], "name", f"{path}.{key}")
                _check_keys(out, projection[key], f"{path}.{key}")
                for item in items(projection[key], "items"):
                    take(text(item, "path"), text(projection[key], "name"))
        if projection.get("downwardAPI") is not None:
            count += 1
            for file in items(projection["downwardAPI"], "items"):
                _check_downward_file(out, file, f"{path}.downwardAPI")
                take(text(file, "path"), text(file, "path"))
        if projection.get("serviceAccountToken") is not None:
            count += 1
            _check_token(out, projection["serviceAccountToken"], field, f"{path}.serviceAccountToken")
        if projection.get("clusterTrustBundle") is not None:
            count += 1
            _check_trust_bundle(out, projection["clusterTrustBundle"], f"{path}.clusterTrustBundle")
            bundle_path = text(projection["clusterTrustBundle"], "path")
            take(bundle_path, bundle_path)
        if projection.get("podCertificate") is not None:
            count += 1
            check_present(out, projection["podCertificate"], "signerName", f"{path}.podCertificate")
            check_present(out, projection["podCertificate"], "keyType", f"{path}.podCertificate")
        if count > 1:
            out.append(causes.forbidden(path, "may not specify more than 1 volume type per source"))


def _check_token(out: Out, token: Object, volume_field: str, field: str) -> None:
    seconds = token.get("expirationSeconds")
    if isinstance(seconds, int):
        if seconds < _TOKEN_SECONDS_MIN:
            detail = "may not specify a duration less than 10 minutes"
            out.append(causes.invalid(f"{field}.expirationSeconds", seconds, detail))
        if seconds > _TOKEN_SECONDS_MAX:
            detail = "may not specify a duration larger than 2^32 seconds"
            out.append(causes.invalid(f"{field}.expirationSeconds", seconds, detail))
    if check_present(out, token, "path", volume_field):
        check_local_path(out, token["path"], f"{volume_field}.path")


def _check_trust_bundle(out: Out, bundle: Object, field: str) -> None:
    name, signer = bundle.get("name"), bundle.get("signerName")
    if name is not None and signer is not None:
        out.append(causes.invalid(field, bundle, "only one of name and signerName may be used"))
    elif name is not None:
        if not name:
            out.append(causes.required(f"{field}.name", "must be a valid object name"))
        if bundle.get("labelSelector") is not None:
            detail = "labelSelector must be unset if name is specified"
            out.append(causes.invalid(f"{field}.labelSelector", bundle["labelSelector"], detail))
    elif signer is not None:
        if not signer:
            out.append(causes.required(f"{field}.signerName", "must be a valid signer name"))
        check_label_selector(out, bundle.get("labelSelector"), f"{field}.labelSelector")
    else:
        out.append(causes.required(field, "either name or signerName must be specified"))
    check_present(out, bundle, "path", field)
    check_local_path(out, text(bundle, "path"), f"{field}.path")


def _check_ephemeral(out: Out, source: Object, field: str) -> None:
    template = source.get("volumeClaimTemplate")
    if template is None:
        out.append(causes.required(f"{field}.volumeClaimTemplate"))
    else:
        check_claim_spec(out, part(template, "spec"), f"{field}.volumeClaimTemplate.spec")


# --- claims ----------------------------------------------------------------------------------------------------------

ACCESS_MODES: Final = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES: Final = ("Block", "Filesystem")


def check_access_modes(out: Out, spec: Object, field: str, missing: str = "at least 1 access mode is required") -> None:
    modes = spec.get("accessModes") or []
    if not modes:
        out.append(causes.required(f"{field}.accessModes", missing))
    for mode in modes:
        if mode not in ACCESS_MODES:
            out.append(causes.not_supported(f"{field}.accessModes", mode, ACCESS_MODES))
    if "ReadWriteOncePod" in modes and any(mode in ACCESS_MODES and mode != "ReadWriteOncePod" for mode in modes):
        out.append(causes.forbidden(f"{field}.accessModes", "may not use ReadWriteOncePod with other access modes"))


def check_claim_spec(out: Out, spec: Object, field: str) -> None:
    """PersistentVolumeClaimSpec, in a claim or in a template of one."""
    check_access_modes(out, spec, field)
    check_label_selector(out, spec.get("selector"), f"{field}.selector")
    storage = part(part(spec, "resources"), "requests").get("storage")
    path = f"{field}.resources[storage]"
    if storage is None:
        out.append(causes.required(path))
    else:
        value = amount(storage)
        if value is not None and value <= 0:
            out.append(causes.invalid(path, str(storage), causes.NOT_POSITIVE))
    for key in ("storageClassName", "volumeAttributesClassName"):
        if text(spec, key):
            check(out, dns_subdomain(text(spec, key)), f"{field}.{key}", text(spec, key))
    mode = spec.get("volumeMode")
    if mode is not None and mode not in VOLUME_MODES:
        out.append(causes.not_supported(f"{field}.volumeMode", mode, VOLUME_MODES))
    for key in ("dataSource", "dataSourceRef"):
        if spec.get(key) is not None:
            _check_data_source(out, spec[key], f"{field}.{key}")
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source is not None and reference is not None:
        if reference.get("namespace"):
            detail = "may not be specified when dataSourceRef.namespace is specified"
            out.append(causes.invalid(field, {}, detail))
        elif any((source.get(key) or "") != (reference.get(key) or "") for key in ("apiGroup", "kind", "name")):
            out.append(causes.invalid(field, {}, "must match dataSourceRef"))


def _check_data_source(out: Out, source: Object, field: str) -> None:
    check_present(out, source, "name", field)
    check_present(out, source, "kind", field)
    group = text(source, "apiGroup")
    if not group and text(source, "kind") != "PersistentVolumeClaim":
        detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        out.append(causes.invalid(field, text(source, "kind"), detail))
    if group:
        check(out, dns_subdomain(group), f"{field}.apiGroup", group)
    if text(source, "namespace"):
        check(out, dns_label(text(source, "namespace")), f"{field}.namespace", text(source, "namespace"))


_SPECIAL: Final[dict[str, Callable[[Out, Object, str], None]]] = {
    "azureDisk": _check_azure_disk,
    "configMap": _check_config_map,
    "downwardAPI": _check_downward_api,
    "emptyDir": _check_empty_dir,
    "fc": _check_fc,
    "flexVolume": _check_flex_volume,
    "flocker": _check_flocker,
    "gitRepo": _check_git_repo,
    "hostPath": _check_host_path,
    "nfs": _check_nfs,
    "projected": _check_projected,
    "quobyte": _check_quobyte,
    "secret": _check_secret,
    "storageos": _check_storage_os,
}
