"""A CustomResourceDefinition as the server goes by it: rows of the table of kinds, and each version's schema as bytes.

Enters: a stored CustomResourceDefinition.
Leaves: a Definition.
Holds: immutable; schemas are compressed bytes until somebody needs one (api.custom.structural), so an idle definition costs these
and a few hundred bytes more. Only accepted names are served.
Next: registry.custom.definitions.
"""

from __future__ import annotations

import zlib
from typing import Final

import orjson
from msgspec import Struct

from edgekube.api.custom import conditions, versions
from edgekube.api.kinds import ALL_VERBS, Kind
from edgekube.api.objects import Object, name_of, uid_of

#: A fifth larger than at level 6 and five times as fast: a server with a hundred large definitions reads them all at its start.
_LEVEL: Final = 1


class Version(Struct, frozen=True):
    """One of spec.versions. ``schema`` is compressed JSON."""

    name: str
    served: bool
    schema: bytes
    columns: bytes
    has_status: bool
    #: specReplicasPath, statusReplicasPath, labelSelectorPath; None without the subresource.
    scale: tuple[str, str, str] | None
    selectable_fields: tuple[str, ...]
    deprecation: str

    def schema_object(self) -> Object:
        """openAPIV3Schema as it was written, decoded anew each time."""
        decoded: Object = orjson.loads(zlib.decompress(self.schema))
        return decoded


class Definition(Struct, frozen=True):
    name: str
    uid: str
    #: The definition's own resourceVersion.
    revision: int
    generation: int
    group: str
    plural: str
    kind: str
    namespaced: bool
    storage_version: str
    versions: tuple[Version, ...]
    #: Rows of served versions, most preferred first; none before it is established.
    rows: tuple[Kind, ...]
    #: The row of the stored version, served or not: what garbage collection goes by. None as long as nothing is served.
    stored_row: Kind | None
    terminating: bool
    #: spec.conversion.webhook, compressed; b"" for strategy None.
    webhook: bytes
    preserves_unknown_fields: bool
    #: What nobody else of the group may be called: plural, singular and short names; kind and list kind.
    resource_names: frozenset[str]
    kind_names: frozenset[str]
    names_accepted: bool
    #: It has every name that it asks for, and serves: there is nothing to decide.
    is_settled: bool

    def version(self, name: str) -> Version | None:
        return next((version for version in self.versions if version.name == name), None)

    def webhook_object(self) -> Object:
        decoded: Object = orjson.loads(zlib.decompress(self.webhook))
        return decoded


def definition_of(crd: Object, before: Definition | None = None) -> Definition:
    """The stored object is valid (api.custom.definition_rules). ``before``: an earlier state, whose schemas hold on while
    the spec does."""
    spec, status = crd["spec"], crd.get("status") or {}
    accepted = status.get("acceptedNames") or {}
    namespaced = spec.get("scope") == "Namespaced"
    generation = int(crd["metadata"].get("generation") or 0)
    if before is not None and (before.uid, before.generation) == (uid_of(crd), generation):
        found = before.versions
    else:
        made = (_version(spec["group"], spec["names"]["kind"], version) for version in spec.get("versions") or ())
        found = tuple(sorted(made, key=lambda version: versions.priority(version.name)))
    established = conditions.is_true(crd, conditions.ESTABLISHED)
    terminating = conditions.is_true(crd, conditions.TERMINATING)

    def row(version: Version) -> Kind:
        below = (("status",) if version.has_status else ()) + (("scale",) if version.scale else ())
        return Kind(
            group=spec["group"],
            version=version.name,
            kind=accepted.get("kind") or "",
            plural=accepted.get("plural") or "",
            namespaced=namespaced,
            short_names=tuple(accepted.get("shortNames") or ()),
            categories=tuple(accepted.get("categories") or ()),
            subresources=below,
            verbs=tuple(verb for verb in ALL_VERBS if verb != "create") if terminating else ALL_VERBS,
            custom=True,
            singular_name=accepted.get("singular") or "",
            list_kind_name=accepted.get("listKind") or "",
            selectable_fields=version.selectable_fields,
            printer_columns=version.columns,
            scale_paths=version.scale,
            deprecation=version.deprecation,
            definition_generation=generation,
        )

    storage_version = next(version["name"] for version in spec["versions"] if version.get("storage"))
    serves = established and bool(accepted.get("plural"))
    conversion = spec.get("conversion") or {}
    webhook = conversion.get("webhook") if conversion.get("strategy") == "Webhook" else None
    return Definition(
        name=name_of(crd),
        uid=uid_of(crd),
        revision=int(crd["metadata"].get("resourceVersion") or 0),
        generation=generation,
        group=spec["group"],
        plural=spec["names"]["plural"],
        kind=spec["names"]["kind"],
        namespaced=namespaced,
        storage_version=storage_version,
        versions=found,
        rows=tuple(row(version) for version in found if version.served) if serves else (),
        stored_row=next(row(version) for version in found if version.name == storage_version) if serves else None,
        terminating=terminating,
        webhook=zlib.compress(orjson.dumps(webhook), _LEVEL) if webhook else b"",
        preserves_unknown_fields=bool(spec.get("preserveUnknownFields")),
        resource_names=frozenset(
            name for name in (accepted.get("plural"), accepted.get("singular"), *(accepted.get("shortNames") or ())) if name
        ),
        kind_names=frozenset(name for name in (accepted.get("kind"), accepted.get("listKind")) if name),
        names_accepted=conditions.is_true(crd, conditions.NAMES_ACCEPTED),
        is_settled=established and conditions.is_true(crd, conditions.NAMES_ACCEPTED) and accepted == spec["names"],
    )


def _version(group: str, kind: str, version: Object) -> Version:
    below = version.get("subresources") or {}
    scale = below.get("scale")
    columns = version.get("additionalPrinterColumns")
    deprecation = ""
    if version.get("deprecated"):
        deprecation = version.get("deprecationWarning") or f"{group}/{version['name']} {kind} is deprecated"
    return Version(
        name=version["name"],
        served=bool(version.get("served")),
        schema=zlib.compress(orjson.dumps((version.get("schema") or {}).get("openAPIV3Schema") or {}), _LEVEL),
        columns=zlib.compress(orjson.dumps(columns), _LEVEL) if columns else b"",
        has_status="status" in below and below["status"] is not None,
        scale=tuple(str(scale.get(key) or "") for key in _SCALE_PATHS) if scale else None,  # type: ignore[arg-type]
        selectable_fields=tuple(
            str(field.get("jsonPath") or "").removeprefix(".") for field in version.get("selectableFields") or ()
        ),
        deprecation=deprecation,
    )


_SCALE_PATHS: Final = ("specReplicasPath", "statusReplicasPath", "labelSelectorPath")
