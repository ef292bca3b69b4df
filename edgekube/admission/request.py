"""What a write asks of admission: one value that every plugin of the chain sees.

Enters: a verb's operation, the objects in the version that was asked for, who asks.
Leaves: the object as the chain left it (mutating plugins), warnings and audit annotations.
Holds: pure data. ``kind`` is the resource of the request; ``object_kind`` says what the objects are, which differs for a
subresource with a body of its own (a Binding, a Scale, PodExecOptions). A validating plugin changes nothing (source:
k8s.io/apiserver pkg/admission, Attributes; kubernetes.io, "Dynamic Admission Control").
Next: registry.gate, which hands it to the plugins in upstream's order.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct, field

from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, metadata_of
from edgekube.api.verbs import UserInfo

CREATE: Final = "CREATE"
UPDATE: Final = "UPDATE"
DELETE: Final = "DELETE"
CONNECT: Final = "CONNECT"


class AdmissionRequest(Struct):
    operation: str
    kind: Kind
    #: For a Namespace its own name, as upstream says it; "" for other cluster-scoped kinds.
    namespace: str
    #: As the request gave it: "" while a name is still to be generated, and for each object of a deletecollection.
    name: str
    user: UserInfo
    #: None for DELETE. A plugin that mutates changes it in place or puts another one here, and sets ``mutated``.
    object: Object | None = None
    #: None for CREATE and CONNECT.
    old_object: Object | None = None
    subresource: str = ""
    dry_run: bool = False
    #: CreateOptions, UpdateOptions or DeleteOptions; None for CONNECT.
    options: Object | None = None
    #: None: the objects are of ``kind``.
    body_kind: Kind | None = None
    #: True for callers inside the process.
    trusted: bool = False
    #: True for what a server makes before it takes requests: it could not start, and nobody could take the webhook back.
    foundation: bool = False
    #: Somebody from outside (a webhook, a policy) changed the object: its shape and defaults are looked at again.
    mutated: bool = False
    #: A plugin wants the mutating chain to run once more, and it is doing so.
    reinvoke: bool = False
    reinvoked: bool = False
    #: What a plugin remembers between the two runs of the mutating chain, under its own name.
    memory: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)

    @property
    def object_kind(self) -> Kind:
        return self.body_kind or self.kind

    @property
    def is_own_business(self) -> bool:
        """A Lease or an Event of our own loops, or what the server must have to start: no webhook and no policy is asked."""
        return self.foundation or (self.trusted and not self.kind.durable)

    @property
    def resource_path(self) -> str:
        """``pods``, ``pods/status``: how rules name what is asked for."""
        return f"{self.kind.plural}/{self.subresource}" if self.subresource else self.kind.plural

    @property
    def shown_name(self) -> str:
        """How an error names the object, whose name may not be there yet."""
        if self.name:
            return self.name
        metadata = metadata_of(self.object) if self.object is not None else {}
        return str(metadata.get("name") or metadata.get("generateName") or "Unknown")

    def warn(self, text: str) -> None:
        """For a Warning header of the answer."""
        if text not in self.warnings:
            self.warnings.append(text)

    def annotate(self, key: str, value: str) -> None:
        """For the audit event of the request; what was said first stays."""
        self.annotations.setdefault(key, value)
