"""What a pod asks for as a whole, beside what its containers ask for.

Enters: a PodSpec with ``resources``.
Leaves: causes appended to ``out``.
Holds: the whole is no less than what the containers request together, nor than the limit of any one.
Source: core/validation validatePodResources, validatePodResourceConsistency.
Next: api.validation.podspec.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube.api import quantities
from edgekube.api.objects import Object
from edgekube.api.pod_requests import amounts, pod_limits, pod_requests
from edgekube.api.validation import causes
from edgekube.api.validation.fields import Out, items, part, text
from edgekube.api.validation.resources import amount, check_requirements, is_huge_page

_BINARY: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")


def check_pod_resources(out: Out, spec: Object, claims: set[str], field: str) -> None:
    resources, path = spec["resources"], f"{field}.resources"
    if text(part(spec, "os"), "name") == "windows":
        out.append(causes.forbidden(path, "may not be set for a windows pod"))
        return
    if resources.get("claims") is not None:
        out.append(causes.forbidden(f"{path}.claims", "claims may not be set for Resources at pod-level"))
    check_requirements(out, resources, claims, path, pod_level=True)
    alone = {"spec": {**spec, "resources": None, "overhead": None}}
    requested, limited = pod_requests(alone, held=False), pod_limits(alone)
    _check_whole(out, spec, "requests", requested, f"{path}.requests")
    _check_whole(out, spec, "limits", {name: most for name, most in limited.items() if is_huge_page(name)}, f"{path}.limits")
    limits = part(resources, "limits")
    for i, container in enumerate(items(spec, "containers")):
        for name, quantity in part(part(container, "resources"), "limits").items():
            of_pod, of_container = amount(limits.get(name)), amount(quantity)
            if of_pod is not None and of_container is not None and of_container > of_pod:
                detail = f"must be less than or equal to pod limits of {limits[name]}"
                out.append(causes.invalid(f"{path}.containers[{i}][{name}].limits", str(quantity), detail))


def _check_whole(out: Out, spec: Object, side: str, together: dict[str, int], field: str) -> None:
    whole = part(spec["resources"], side)
    given = amounts(whole)
    for name, total in sorted(together.items()):
        if name in given and total > given[name]:
            detail = f"must be greater than or equal to aggregate container {side} of {_shown(spec, side, name, total)}"
            out.append(causes.invalid(f"{field}[{name}]", str(whole[name]), detail))


def _shown(spec: Object, side: str, name: str, total: int) -> str:
    """In the form, binary or decimal, of the first container that asks."""
    if name == "cpu":
        return quantities.canonical(f"{total}m")
    if not _first(spec, side, name).endswith("i"):
        return quantities.canonical(str(total))
    power = 0
    while total and total % 1024 == 0 and power < len(_BINARY) - 1:
        total, power = total // 1024, power + 1
    return f"{total}{_BINARY[power]}"


def _first(spec: Object, side: str, name: str) -> str:
    containers: list[Any] = [*items(spec, "containers"), *items(spec, "initContainers")]
    asked = (part(part(container, "resources"), side).get(name) for container in containers)
    return next((str(quantity) for quantity in asked if quantity is not None), "")
