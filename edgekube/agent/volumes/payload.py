"""The files of configMap, secret, downwardAPI and projected volumes.

Enters: a volume's source, the objects and tokens it names.
Leaves: path -> VolumeFile; VolumeProblem in upstream's words when something is missing.
Holds: pure. Source: Kubernetes documentation, "Projected Volumes", "ConfigMaps", "Secrets".
Next: volumes.atomic writes them.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgekube.agent.env import config_map_data, secret_data
from edgekube.agent.fieldrefs import Surroundings, field_value, resource_value
from edgekube.agent.podspec import containers_of, init_containers_of
from edgekube.agent.problems import ConfigProblem, VolumeProblem
from edgekube.agent.references import Key
from edgekube.agent.volumes.atomic import VolumeFile, check_path
from edgekube.api.kinds import CONFIGMAP, SECRET, Kind
from edgekube.api.objects import Object, namespace_of, spec_of

DEFAULT_MODE = 0o644
#: (audience, expirationSeconds) -> token
Tokens = Mapping[tuple[str, int], str]
TOKEN_SECONDS_DEFAULT = 3600


def wanted_tokens(pod: Object, volume: Object) -> set[tuple[str, int]]:
    """The service account tokens that a projected volume asks for."""
    return {
        (token.get("audience") or "", int(token.get("expirationSeconds") or TOKEN_SECONDS_DEFAULT))
        for source in (volume.get("projected") or {}).get("sources") or []
        if (token := source.get("serviceAccountToken"))
    }


def _picked(data: Mapping[str, bytes], source: Object, mode: int, what: str, *, optional: bool) -> dict[str, VolumeFile]:
    items = source.get("items")
    if not items:
        return {key: VolumeFile(value, mode) for key, value in data.items()}
    files: dict[str, VolumeFile] = {}
    for item in items:
        if item["key"] not in data:
            if optional:
                continue
            raise VolumeProblem(f"{what} {item['key']}")
        item_mode = item.get("mode")
        files[item["path"]] = VolumeFile(data[item["key"]], mode if item_mode is None else item_mode)
    return files


def _object(
    pod: Object, kind: Kind, name: str, source: Object, mode: int, objects: Mapping[Key, Object | None]
) -> dict[str, VolumeFile]:
    optional = bool(source.get("optional"))
    found = objects.get((kind, namespace_of(pod), name))
    if found is None:
        if optional:
            return {}
        raise VolumeProblem(f'{kind.singular} "{name}" not found')
    data = secret_data(found) if kind is SECRET else config_map_data(found)
    what = "references non-existent secret key:" if kind is SECRET else "configmap references non-existent config key:"
    return _picked(data, source, mode, what, optional=optional)


def _downward(pod: Object, source: Object, mode: int, around: Surroundings) -> dict[str, VolumeFile]:
    files: dict[str, VolumeFile] = {}
    for item in source.get("items") or []:
        try:
            if reference := item.get("fieldRef"):
                text = field_value(pod, reference["fieldPath"], around)
            else:
                text = resource_value(pod, item.get("resourceFieldRef") or {}, "", around)
        except ConfigProblem as problem:
            raise VolumeProblem(problem.message) from None
        item_mode = item.get("mode")
        files[item["path"]] = VolumeFile(text.encode(), mode if item_mode is None else item_mode)
    return files


def _single_user(pod: Object) -> int | None:
    """The one user that every container runs as, when they agree on one."""
    of_pod = (spec_of(pod).get("securityContext") or {}).get("runAsUser")
    users = set()
    for container in [*init_containers_of(pod), *containers_of(pod)]:
        own = (container.get("securityContext") or {}).get("runAsUser")
        users.add(of_pod if own is None else own)
    return int(user) if len(users) == 1 and (user := users.pop()) is not None else None


def _projected(
    pod: Object, source: Object, mode: int, objects: Mapping[Key, Object | None], tokens: Tokens, around: Surroundings
) -> dict[str, VolumeFile]:
    files: dict[str, VolumeFile] = {}
    for part in source.get("sources") or []:
        if (config_map := part.get("configMap")) is not None:
            files.update(_object(pod, CONFIGMAP, config_map.get("name") or "", config_map, mode, objects))
        elif (secret := part.get("secret")) is not None:
            files.update(_object(pod, SECRET, secret.get("name") or "", secret, mode, objects))
        elif (downward := part.get("downwardAPI")) is not None:
            files.update(_downward(pod, downward, mode, around))
        elif (token := part.get("serviceAccountToken")) is not None:
            key = (token.get("audience") or "", int(token.get("expirationSeconds") or TOKEN_SECONDS_DEFAULT))
            user = _single_user(pod)
            fs_group = (spec_of(pod).get("securityContext") or {}).get("fsGroup")
            token_mode = mode if user is None and fs_group is None else 0o600
            files[token["path"]] = VolumeFile(tokens[key].encode(), token_mode, -1 if user is None else user)
        else:
            raise VolumeProblem(f"projected source {next(iter(part), '')} is not supported by this node")
    return files


def volume_files(
    pod: Object, volume: Object, objects: Mapping[Key, Object | None], tokens: Tokens, around: Surroundings
) -> dict[str, VolumeFile]:
    for field in ("configMap", "secret", "downwardAPI", "projected"):
        source = volume.get(field)
        if source is not None:
            break
    else:
        raise ValueError(f"volume {volume.get('name')} has no files")
    given = source.get("defaultMode")
    mode = DEFAULT_MODE if given is None else int(given)
    if field == "configMap":
        files = _object(pod, CONFIGMAP, source.get("name") or "", source, mode, objects)
    elif field == "secret":
        files = _object(pod, SECRET, source.get("secretName") or "", source, mode, objects)
    elif field == "downwardAPI":
        files = _downward(pod, source, mode, around)
    else:
        files = _projected(pod, source, mode, objects, tokens, around)
    try:
        for path in files:
            check_path(path)
    except ValueError as error:
        raise VolumeProblem(str(error)) from None
    return files
