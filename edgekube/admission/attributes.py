"""What a request wants to do, as authorization sees it, and the answer.

Enters: who (UserInfo) and what (verb, resource or path).
Leaves: Attributes and Decision values.
Holds: pure data (source: k8s.io/apiserver authorizer.Attributes; authorization.k8s.io/v1 SubjectAccessReview).
Next: admission.rbac decides; server.router asks.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from edgekube.api.verbs import UserInfo


class Attributes(Struct, frozen=True):
    user: UserInfo
    verb: str  # get list watch create update patch delete deletecollection, impersonate…; lower-case method for a path
    group: str = ""
    version: str = ""
    resource: str = ""  # plural; "" for a non-resource path
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    #: What a list's or watch's field selector pins down: ("spec.nodeName", "pi-1").
    fields: tuple[tuple[str, str], ...] = ()
    #: A list's or watch's label selector, as it was sent.
    label_selector: str = ""


class Decision(Struct, frozen=True):
    allowed: bool
    reason: str = ""


class Authorizer(Protocol):
    def authorize(self, attributes: Attributes) -> Decision: ...
