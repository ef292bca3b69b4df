"""Defaults of apiextensions.k8s.io and apiregistration.k8s.io: the groups that extend the API.

Enters: a CustomResourceDefinition, an APIService.
Leaves: the same, with every field that Kubernetes fills set.
Source: apiextensions/v1 SetDefaults_CustomResourceDefinition; apiregistration/v1 SetDefaults_ServiceReference.
Next: api.defaults.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edgekube.api.defaults.fill import Scalars, fill_empty, fill_missing, items, part
from edgekube.api.objects import Object

_HTTPS: Final[Scalars] = {"port": 443}


def default_definition(definition: Object) -> None:
    spec = part(definition, "spec")
    names = part(spec, "names")
    kind = names.get("kind") or ""
    if kind:
        fill_empty(names, {"singular": kind.lower(), "listKind": f"{kind}List"})
    conversion = spec.get("conversion")
    if not isinstance(conversion, dict):
        conversion = spec["conversion"] = {"strategy": "None"}
    service = ((conversion.get("webhook") or {}).get("clientConfig") or {}).get("service")
    if isinstance(service, dict):
        fill_missing(service, _HTTPS)
    status = part(definition, "status")
    if not status.get("storedVersions"):
        stored = next((version.get("name") for version in items(spec, "versions") if version.get("storage")), None)
        status["storedVersions"] = [stored] if stored else []
    status.setdefault("conditions", [])
    fill_missing(part(status, "acceptedNames"), {"plural": "", "kind": ""})


def default_api_service(api_service: Object) -> None:
    service = part(api_service, "spec").get("service")
    if isinstance(service, dict):
        fill_missing(service, _HTTPS)
    part(api_service, "status")


DEFAULTERS: Final[dict[str, Callable[[Object], None]]] = {"CustomResourceDefinition": default_definition}
REGISTRATION_DEFAULTERS: Final[dict[str, Callable[[Object], None]]] = {"APIService": default_api_service}
