"""Files of one volume that would lie in each other's way.

Enters: the volumes of a pod.
Leaves: texts of warnings.
Source: pkg/api/pod/warnings.go, warningsForOverlappingVirtualPaths, of v1.36.
Next: api.warnings.pods.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from edgekube.api.objects import Object
from edgekube.api.validation.causes import quoted
from edgekube.api.validation.fields import items, part, text

#: Volumes, and what they are called with the name of what they are made of.
_MAPPED: Final = (("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName"), ("downwardAPI", "DownwardAPI", ""))
_CERTIFICATES: Final = (
    ("certificateChainPath", "PodCertificate chain"),
    ("keyPath", "PodCertificate key"),
    ("credentialBundlePath", "PodCertificate credential bundle"),
)


def overlaps(volumes: list[Object]) -> Iterator[str]:
    for volume in volumes:
        name = quoted(text(volume, "name"))
        for key, what, named in _MAPPED:
            source = part(volume, key)
            called = f"{what} {quoted(text(source, named))}" if named else what
            for overlap in _among([(text(item, "path"), "") for item in items(source, "items")]):
                yield f"volume {name} ({called}): overlapping paths: {overlap}"
        paths: list[tuple[str, str]] = []
        for source in items(part(volume, "projected"), "sources"):
            if not any(value is not None for value in source.values()):
                yield f"volume {name} (Projected) has no sources provided"
            paths += _of_source(source)
        for overlap in _among(paths):
            yield f"volume {name} (Projected): overlapping paths: {overlap}"


def _of_source(source: Object) -> list[tuple[str, str]]:
    for key, what in (("configMap", "ConfigMap"), ("secret", "Secret"), ("downwardAPI", "DownwardAPI")):
        if part(source, key).get("items") is not None:
            called = what if key == "downwardAPI" else f"{what} {quoted(text(source[key], 'name'))}"
            return [(text(item, "path"), called) for item in items(source[key], "items")]
    if source.get("serviceAccountToken") is not None:
        return [(text(source["serviceAccountToken"], "path"), "ServiceAccountToken")]
    bundle = source.get("clusterTrustBundle")
    if bundle is not None:
        name = bundle.get("name") if bundle.get("name") is not None else bundle.get("signerName")
        return [(text(bundle, "path"), f"ClusterTrustBundle {quoted(name or '')}")]
    certificate = part(source, "podCertificate")
    return [(text(certificate, key), what) for key, what in _CERTIFICATES if certificate.get(key)]


def _among(paths: list[tuple[str, str]]) -> Iterator[str]:
    before: list[tuple[str, str]] = []
    for path, source in paths:
        path = path.rstrip("/")
        for other, other_source in before:
            if path and other and (f"{path}/".startswith(f"{other}/") or f"{other}/".startswith(f"{path}/")):
                yield f"{_shown(path, source)} with {_shown(other, other_source)}"
        before.append((path, source))


def _shown(path: str, source: str) -> str:
    return f"{quoted(path)} ({source})" if source else quoted(path)
