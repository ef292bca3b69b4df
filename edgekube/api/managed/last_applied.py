"""From ``kubectl apply`` on the client to ``kubectl apply --server-side``: the annotation that the former leaves behind.

Enters: the object as it is, and what kubectl applies to it.
Leaves: the fields that the annotation shows to be kubectl's own, which it may take without force; and the annotation's new value.
Holds: pure; of no account to any manager but ``kubectl``.
Source: k8s.io/apimachinery pkg/util/managedfields/internal (lastapplied.go, lastappliedmanager.go, lastappliedupdater.go).
Next: registry.managing.
"""

from __future__ import annotations

from typing import Final

import orjson

from edgekube import limits
from edgekube.api.managed import fieldsets, validity
from edgekube.api.managed.compare import compare
from edgekube.api.managed.fields_of import fields_of
from edgekube.api.managed.fieldsets import EMPTY, FieldSet
from edgekube.api.managed.sites import Site
from edgekube.api.objects import Object, annotations_of, metadata_of

KUBECTL: Final = "kubectl"
ANNOTATION: Final = "kubectl.kubernetes.io/last-applied-configuration"


def own_fields(site: Site, live: Object, api_version: str) -> FieldSet:
    """What the annotation says and the object still has as it says it."""
    text = annotations_of(live).get(ANNOTATION)
    if not text:
        return EMPTY
    try:
        last = orjson.loads(text)
    except ValueError:
        return EMPTY
    if type(last) is not dict or last.get("apiVersion") != api_version or validity.faults(site, last):
        return EMPTY
    comparison = compare(site, last, live)
    fields = fields_of(site, last)
    for part in (comparison.modified, comparison.added, comparison.removed):
        fields = fieldsets.difference(fields, part)
    return fields


def remember(obj: Object, applied: Object) -> None:
    """The annotation of an object that has one follows what is applied, as long as there is room."""
    annotations = annotations_of(obj)
    if not annotations.get(ANNOTATION):
        return
    copied: Object = orjson.loads(orjson.dumps(applied))
    metadata = metadata_of(copied)
    if metadata.get("annotations"):
        metadata["annotations"].pop(ANNOTATION, None)
    text = orjson.dumps(copied, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE).decode()
    others = {key: value for key, value in annotations.items() if key != ANNOTATION}
    size = sum(len(key.encode()) + len(value.encode()) for key, value in {**others, ANNOTATION: text}.items())
    metadata_of(obj)["annotations"] = others if size > limits.ANNOTATIONS_BYTES_MAX else {**others, ANNOTATION: text}
