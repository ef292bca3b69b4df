"""Which objects a list or watch is about: selectors, parsed once, matched against stored bytes.

Enters: a kind and the query's selectors.
Leaves: a Selection that answers yes or no for a key and its JSON.
Holds: a selection of everything costs nothing; one that names an object looks at its key first.
Next: registry.topics, registry.list, registry.watch.
"""

from __future__ import annotations

from msgspec import Struct

from edgekube.api.kinds import Kind
from edgekube.api.selectors.fields import FieldSelector, parse_field_selector
from edgekube.api.selectors.label_text import parse_label_selector
from edgekube.api.selectors.labels import LabelSelector
from edgekube.registry.topics import group, topic
from edgekube.store.protocol import Group, Key, Topic


class Selection(Struct, frozen=True):
    labels: LabelSelector
    fields: FieldSelector
    #: The one name that can match; None: any.
    name: str | None
    #: What the store may look for instead of telling of every change; no more than this can match.
    topic: Topic | None = None
    #: Likewise what it may read instead of all objects.
    group: Group | None = None

    @property
    def told(self) -> bool:
        """Whatever the store tells of is wanted: only a name is asked for, and no object changes its own."""
        return self.name is not None and len(self.fields.terms) == 1 and self.labels.everything

    @property
    def everything(self) -> bool:
        return self.labels.everything and self.fields.everything

    def matches(self, key: Key, raw: bytes) -> bool:
        """``raw`` is in the served version."""
        if self.name is not None and key.name != self.name:
            return False
        if not self.labels.everything and not self.labels.matches_raw(raw):
            return False
        if self.fields.everything:
            return True
        if self.fields.metadata_only:
            return self.fields.matches_name(key.namespace, key.name)
        return self.fields.matches_raw(raw)


def select(kind: Kind, label_selector: str, field_selector: str) -> Selection:
    """StatusError BadRequest for text that does not parse or fields that the kind does not offer."""
    labels = parse_label_selector(label_selector)
    fields = parse_field_selector(kind, field_selector)
    return Selection(labels, fields, fields.exact("metadata.name"), topic(kind, fields), group(kind, fields))
