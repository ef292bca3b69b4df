"""A container's environment.

Enters: the pod, one container, the ConfigMaps and Secrets that it names, services, the downward API.
Leaves: name and value pairs, in the order that Kubernetes gives them; ConfigProblem for what is missing.
Holds: pure, but that files of the pod are read. Values are never logged.
Source: Kubernetes documentation, "Define Environment Variables", "Dependent Variables".
Next: agent.container_config.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping

from edgekube.agent.env_files import file_key
from edgekube.agent.fieldrefs import Surroundings, field_value, resource_value
from edgekube.agent.problems import ConfigProblem
from edgekube.agent.references import Key
from edgekube.api.kinds import CONFIGMAP, SECRET
from edgekube.api.objects import Object, namespace_of

_REFERENCE = re.compile(r"\$(?:\$|\(([^()]*)\))")
#: Since v1.34 any printable ASCII but "=" may stand in a variable's name.
_NAME = re.compile(r"[ -<>-~]+")


def expand(text: str, values: Mapping[str, str]) -> str:
    """``$(NAME)`` becomes the value, stays as it is when there is none; ``$$`` becomes ``$``."""

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return values.get(match[1], match[0])

    return _REFERENCE.sub(replace, text)


def secret_data(secret: Object) -> dict[str, bytes]:
    return {key: base64.b64decode(value or "") for key, value in (secret.get("data") or {}).items()}


def _text_data(config_map: Object) -> dict[str, bytes]:
    return {key: value.encode() for key, value in (config_map.get("data") or {}).items()}


def config_map_data(config_map: Object) -> dict[str, bytes]:
    data = _text_data(config_map)
    data.update({key: base64.b64decode(value) for key, value in (config_map.get("binaryData") or {}).items()})
    return data


def make_environment(
    pod: Object,
    container: Object,
    objects: Mapping[Key, Object | None],
    service_variables: Mapping[str, str],
    around: Surroundings,
    volumes: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """``volumes``: where the pod's are on disk, by name, for variables out of files."""
    namespace = namespace_of(pod)
    result: dict[str, str] = {}

    for source in container.get("envFrom") or []:
        prefix = source.get("prefix") or ""
        reference = source.get("configMapRef")
        if reference is not None:
            found = objects.get((CONFIGMAP, namespace, reference["name"]))
            pairs = {key: str(value) for key, value in ((found or {}).get("data") or {}).items()}
            kind = "configmap"
        else:
            reference = source.get("secretRef") or {}
            found = objects.get((SECRET, namespace, reference.get("name") or ""))
            pairs = {key: value.decode(errors="replace") for key, value in secret_data(found or {}).items()}
            kind = "secret"
        if found is None and not reference.get("optional"):
            raise ConfigProblem(f'{kind} "{reference.get("name")}" not found')
        result.update({prefix + key: value for key, value in pairs.items() if _NAME.fullmatch(prefix + key)})

    for variable in container.get("env") or []:
        name = variable["name"]
        value_from = variable.get("valueFrom")
        if variable.get("value") or not value_from:
            result[name] = expand(variable.get("value") or "", {**service_variables, **result})
            continue
        if reference := value_from.get("fileKeyRef"):
            value = _from_file(reference, volumes or {})
        else:
            value = _value_from(pod, container, value_from, objects, around)
        if value is not None:
            result[name] = value

    for name, value in service_variables.items():
        result.setdefault(name, value)
    return result


def _value_from(
    pod: Object, container: Object, source: Object, objects: Mapping[Key, Object | None], around: Surroundings
) -> str | None:
    """None for what is optional and missing."""
    if reference := source.get("fieldRef"):
        return field_value(pod, reference["fieldPath"], around)
    if reference := source.get("resourceFieldRef"):
        return resource_value(pod, reference, container["name"], around)
    if reference := source.get("configMapKeyRef"):
        return _key(CONFIGMAP.kind, objects.get((CONFIGMAP, namespace_of(pod), reference["name"])), reference, pod)
    if reference := source.get("secretKeyRef"):
        return _key(SECRET.kind, objects.get((SECRET, namespace_of(pod), reference["name"])), reference, pod)
    raise ConfigProblem(f"valueFrom.{next(iter(source), '')} is not supported by this node")


def _from_file(reference: Object, volumes: Mapping[str, str]) -> str | None:
    where = volumes.get(reference["volumeName"])
    if where is None:
        raise ConfigProblem(f'cannot find the volume "{reference["volumeName"]}" referenced by FileKeyRef')
    value = file_key(where, reference["path"], reference["key"])
    if value is None and not reference.get("optional"):
        raise ConfigProblem(f'environment variable key "{reference["key"]}" not found in file "{reference["path"]}"')
    return value


def _key(kind: str, found: Object | None, reference: Object, pod: Object) -> str | None:
    if found is None:
        if reference.get("optional"):
            return None
        raise ConfigProblem(f'{kind.lower()} "{reference["name"]}" not found')
    data = secret_data(found) if kind == SECRET.kind else _text_data(found)
    value = data.get(reference["key"])
    if value is None:
        if reference.get("optional"):
            return None
        raise ConfigProblem(f"couldn't find key {reference['key']} in {kind} {namespace_of(pod)}/{reference['name']}")
    return value.decode(errors="replace")
