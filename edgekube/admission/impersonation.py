"""Asking in somebody else's name: kubectl --as.

Enters: the headers of a request; what it asks, and who asks it.
Leaves: the user in whose name it is answered, and the verb that allowed that; StatusError BadRequest or Forbidden.
Holds: pure. The narrow ways are tried first: being some user, service account or node for one kind of request
(``impersonate:…`` together with ``impersonate-on:…:<verb>``, by which nobody becomes a member of system:masters), then the old
verb ``impersonate``, which allows everything at once. Each name, group, uid and value of extra is asked for by itself.
Source: k8s.io/apiserver pkg/endpoints/filters/impersonation; kubernetes.io, "User impersonation", KEP-5284.
Next: server.app.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final
from urllib.parse import unquote

from msgspec import Struct
from msgspec.structs import replace

from edgekube.admission.attributes import Attributes, Authorizer
from edgekube.admission.refusals import refusal_of
from edgekube.api import errors
from edgekube.api.errors import StatusError
from edgekube.api.verbs import UserInfo

PREFIX: Final = "impersonate-"
_EXTRA: Final = f"{PREFIX}extra-"
_AUTHENTICATION: Final = "authentication.k8s.io"
_ANONYMOUS: Final = "system:anonymous"
_AUTHENTICATED: Final = "system:authenticated"
_UNAUTHENTICATED: Final = "system:unauthenticated"
_MASTERS: Final = "system:masters"
_NODE_NAME: Final = "authentication.kubernetes.io/node-name"
#: From so many on, permission for all of them is asked for first.
_MANY: Final = 4
_NAME: Final = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_DOTTED: Final = rf"{_NAME}(?:\.{_NAME})*"
_NODE: Final = re.compile(rf"system:node:({_DOTTED})", re.ASCII)
_ACCOUNT: Final = re.compile(rf"system:serviceaccount:({_NAME}):({_DOTTED})", re.ASCII)
_KEY: Final = re.compile(rf"{_DOTTED}/[A-Za-z0-9/_.~!$&'()*+,;=:@%-]+", re.ASCII)


class Impersonated(Struct, frozen=True):
    user: UserInfo
    #: The narrow verb that allowed it, for the audit log; "" for the old one.
    constraint: str = ""


def wanted_in(headers: Mapping[str, str]) -> UserInfo | None:
    """Who shall be asked as; None: nobody else. Names of headers are lower case, repeated ones joined by ", "."""
    for name in headers:  # each request passes here: a generator would cost half as much again
        if name.startswith(PREFIX):
            break
    else:
        return None
    name, uid = headers.get(f"{PREFIX}user", ""), headers.get(f"{PREFIX}uid", "")
    groups = _values(headers.get(f"{PREFIX}group"))
    extra: dict[str, tuple[str, ...]] = {}
    for header, value in headers.items():
        if header.startswith(_EXTRA):
            key = unquote(header.removeprefix(_EXTRA))
            extra[key] = (*extra.get(key, ()), *_values(value))
    if name:
        return UserInfo(name, uid, groups, extra)
    if uid or groups or extra:
        raise errors.bad_request("requested a uid, groups or extra without impersonating a user name")
    return None


def _values(joined: str | None) -> tuple[str, ...]:
    return tuple(joined.split(", ")) if joined is not None else ()


def impersonate(wanted: UserInfo, asked: Attributes, authorizer: Authorizer) -> Impersonated:
    """``asked``: the request itself, with whoever really sent it as its user."""
    refused: StatusError | None = None
    for mode, fits in _MODES.items():
        if not fits(wanted, asked.user):
            continue
        try:
            return _narrowly(mode, wanted, asked, authorizer)
        except StatusError as error:
            refused = refused or error
    try:
        return Impersonated(_become(wanted, _Asking(asked.user, authorizer, "impersonate", "")))
    except StatusError as error:
        raise refused or error from None


def _narrowly(mode: str, wanted: UserInfo, asked: Attributes, authorizer: Authorizer) -> Impersonated:
    user = asked.user
    if mode == "associated-node":  # whichever node it is on: which one is no matter of roles
        keys = tuple(sorted(user.extra))
        user = replace(user, extra={"authentication.kubernetes.io/associated-node-keys": keys})
    on = replace(asked, user=user, verb=f"impersonate-on:{mode}:{asked.verb}")
    decision = authorizer.authorize(on)
    if not decision.allowed:
        raise refusal_of(on, decision.reason)
    verb = f"impersonate:{mode}"
    return Impersonated(_become(wanted, _Asking(user, authorizer, verb, _AUTHENTICATION)), verb)


class _Asking(Struct, frozen=True):
    user: UserInfo
    authorizer: Authorizer
    verb: str
    #: API group of users and groups; "" is the old way.
    group: str

    @property
    def narrow(self) -> bool:
        return bool(self.group)

    def attributes(self, resource: str, name: str, *, namespace: str = "", subresource: str = "", group: str = "") -> Attributes:
        group = group or self.group
        version = "v1"
        return Attributes(self.user, self.verb, group, version, resource, subresource, namespace, name)

    def allows(self, attributes: Attributes) -> bool:
        return self.authorizer.authorize(attributes).allowed

    def check(self, attributes: Attributes) -> None:
        decision = self.authorizer.authorize(attributes)
        if not decision.allowed:
            raise refusal_of(attributes, decision.reason)


def _become(wanted: UserInfo, asking: _Asking) -> UserInfo:
    groups = _check_name(wanted, asking)
    if wanted.uid:
        asking.check(asking.attributes("uids", wanted.uid, group=_AUTHENTICATION))
    _check_groups(wanted, asking)
    _check_extra(wanted, asking)
    if wanted.name == _ANONYMOUS:
        groups = groups if _UNAUTHENTICATED in groups else (*groups, _UNAUTHENTICATED)
    elif _AUTHENTICATED not in groups and _UNAUTHENTICATED not in groups:
        groups = (*groups, _AUTHENTICATED)
    return replace(wanted, groups=groups)


def _check_name(wanted: UserInfo, asking: _Asking) -> tuple[str, ...]:
    """The groups that come with the name, where none are asked for."""
    node, account = _NODE.fullmatch(wanted.name), _ACCOUNT.fullmatch(wanted.name)
    groups = wanted.groups
    attributes = asking.attributes("users", wanted.name)
    if node and asking.narrow:
        name = "*" if asking.verb == "impersonate:associated-node" else node[1]
        attributes, groups = asking.attributes("nodes", name), ("system:nodes",)
        what = "node"
    elif account:
        attributes = asking.attributes("serviceaccounts", account[2], namespace=account[1])
        groups = groups or ("system:serviceaccounts", f"system:serviceaccounts:{account[1]}")
        what = "service account"
    else:
        what = ""
    if what and asking.narrow and wanted.groups:
        listed = " ".join(f'"{group}"' for group in wanted.groups)
        raise refusal_of(attributes, f"when impersonating a {what}, cannot impersonate groups [{listed}]")
    asking.check(attributes)
    return tuple(groups)


def _check_groups(wanted: UserInfo, asking: _Asking) -> None:
    if not wanted.groups:
        return
    if asking.narrow:
        if "" in wanted.groups:
            raise refusal_of(asking.attributes("groups", ""), "impersonating the empty string group is not allowed")
        if _MASTERS in wanted.groups:
            why = "impersonating the system:masters group is not allowed"
            raise refusal_of(asking.attributes("groups", _MASTERS), why)
        if len(wanted.groups) >= _MANY and asking.allows(asking.attributes("groups", "*")):
            return
    for group in wanted.groups:
        asking.check(asking.attributes("groups", group))


def _check_extra(wanted: UserInfo, asking: _Asking) -> None:
    pairs = [(key, value) for key, values in wanted.extra.items() for value in values]
    if asking.narrow:
        why = next(_wrong_with(wanted.extra), "")
        if why:
            raise refusal_of(asking.attributes("userextras", ""), why)
        every = asking.attributes("userextras", "*", subresource="*")
        if len(pairs) >= _MANY and asking.allows(every):
            return
    for key, value in pairs:
        asking.check(asking.attributes("userextras", value, subresource=key, group=_AUTHENTICATION))


def _wrong_with(extra: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for key, values in extra.items():
        if not key:
            yield "impersonating the empty string key in extra is not allowed"
        elif not _KEY.fullmatch(key):
            yield f'impersonating an invalid key in extra is not allowed: extra.key: Invalid value: "{key}"'
        elif key != key.lower():
            yield f'impersonating a non-lowercase key in extra is not allowed: "{key}"'
        elif not values:
            yield "impersonating empty values in extra is not allowed"
        elif "" in values:
            yield "impersonating the empty string value in extra is not allowed"


def _only_named(user: UserInfo) -> bool:
    return not (user.uid or user.groups or user.extra)


def _is_own_node(wanted: UserInfo, asking: UserInfo) -> bool:
    node = _NODE.fullmatch(wanted.name)
    return (
        _only_named(wanted)
        and node is not None
        and _ACCOUNT.fullmatch(asking.name) is not None
        and tuple(asking.extra.get(_NODE_NAME, ())) == (node[1],)
    )


_MODES: Final[dict[str, Callable[[UserInfo, UserInfo], bool]]] = {
    "associated-node": _is_own_node,
    "arbitrary-node": lambda wanted, _: _only_named(wanted) and _NODE.fullmatch(wanted.name) is not None,
    "serviceaccount": lambda wanted, _: _only_named(wanted) and _ACCOUNT.fullmatch(wanted.name) is not None,
    "user-info": lambda wanted, _: not _NODE.fullmatch(wanted.name) and not _ACCOUNT.fullmatch(wanted.name),
}
