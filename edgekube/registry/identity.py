"""Does a body belong to the URL it was sent to, and what does the server write into its metadata?

Enters: the decoded body and what the URL says.
Leaves: metadata that only says what the server vouches for; StatusError BadRequest or Conflict when the two differ.
Holds: pure (source: k8s.io/apiserver pkg/registry/rest meta.go, create.go, update.go).
Next: registry.create, registry.update.
"""

from __future__ import annotations

import re
from typing import Final

import orjson

from edgekube.api import errors
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, metadata_of
from edgekube.registry.served_kinds import ServedKinds

_REVISION: Final = re.compile("0*[1-9][0-9]{0,19}", re.ASCII)
#: The longest generateName that leaves room for its suffix of five characters.
_GENERATE_NAME_LENGTH_MAX: Final = 58
_GRACE: Final = "deletionGracePeriodSeconds"
_OF_DELETION: Final = ("deletionTimestamp", _GRACE)
_SYSTEM_FIELDS: Final = ("generation", "creationTimestamp", *_OF_DELETION)


#: What upstream names the table of its types by.
SCHEME: Final = "pkg/runtime/scheme.go:111"
#: Where Go's sources have the types of a group, if not in a folder of its first name.
_PACKAGES: Final = {"": "core", "events.k8s.io": "core"}


def check_type(kind: Kind, obj: Object, kinds: ServedKinds) -> None:
    """A body without kind is taken to be what the URL says; any other kind is refused. ``kinds``: those that are known."""
    given_kind, given_version = _given_type(kind, obj)
    if kind.custom:
        if given_version != kind.api_version:
            raise other_version(kind, given_version)
        check_custom_type(kind, obj)
    why = other_type(kind, obj, kinds)
    if why:
        handled = f'{given_kind} in version "{given_version.rpartition("/")[2]}" cannot be handled as a {kind.kind}: {why}'
        raise errors.bad_request(handled)


def other_type(kind: Kind, obj: Object, kinds: ServedKinds) -> str:
    """Why the object is none of the kind, in the words of upstream's decoder; "": it is, and says so now. StatusError
    BadRequest for the kind in a version that the URL does not name."""
    given_kind, given_version = _given_type(kind, obj)
    if (given_kind, given_version) == (kind.kind, kind.api_version):
        obj["kind"], obj["apiVersion"] = kind.kind, kind.api_version
        return ""
    known = kinds.by_kind(given_version, given_kind)
    if known is None or known.custom:
        return f'no kind "{given_kind}" is registered for version "{given_version}" in scheme "{SCHEME}"'
    if given_kind == kind.kind:
        raise other_version(kind, given_version)
    package = _PACKAGES.get(kind.group, kind.group.partition(".")[0])
    return f"converting ({given_version.rpartition('/')[2]}.{given_kind}) to ({package}.{kind.kind}): unknown conversion"


def check_custom_type(kind: Kind, obj: Object) -> None:
    """A custom object has no Go type that it could fail to be: what it says of itself is judged as any field is."""
    given_kind, given_version = _given_type(kind, obj)
    pairs = (("kind", given_kind, kind.kind), ("apiVersion", given_version, kind.api_version))
    wrong = [
        errors.Cause("FieldValueInvalid", f'Invalid value: "{given}": must be {expected}', field)
        for field, given, expected in pairs
        if given != expected
    ]
    if wrong:
        raise errors.invalid(kind.group, given_kind, str(metadata_of(obj).get("name") or ""), wrong)


def other_version(kind: Kind, given: str) -> errors.StatusError:
    return errors.bad_request(
        f"the API version in the data ({given}) does not match the expected API version ({kind.api_version})"
    )


def _given_type(kind: Kind, obj: Object) -> tuple[str, str]:
    return str(obj.get("kind") or kind.kind), str(obj.get("apiVersion") or kind.api_version)


def check_scope(kind: Kind, namespace: str, obj: Object) -> None:
    """metadata.namespace is the URL's, or is filled in from it; what has none loses the one that was given, as charts give it."""
    metadata = metadata_of(obj)
    if not kind.namespaced:
        metadata.pop("namespace", None)
        return
    given = metadata.get("namespace") or ""
    if not namespace:
        raise errors.bad_request("an empty namespace may not be set during creation")
    if given and given != namespace:
        raise errors.bad_request("the namespace of the provided object does not match the namespace sent on the request")
    metadata["namespace"] = namespace


def clean_for_create(obj: Object) -> None:
    """Drop what only the server may write, but a resourceVersion: what else is wrong is told before it."""
    metadata = metadata_of(obj)
    for key in ("selfLink", "uid", *_SYSTEM_FIELDS):
        metadata.pop(key, None)
    for key in ("labels", "annotations", "ownerReferences", "finalizers"):
        if key in metadata and not metadata[key]:
            del metadata[key]


def refuse_revision(obj: Object) -> None:
    """Asked last, when admission has had its say: StatusError if what is to be created has been stored before; its code is that
    of upstream's, whose store finds it out.

    What is no number is none of ours, and forgotten.
    """
    revision = metadata_of(obj).pop("resourceVersion", None)
    if isinstance(revision, str) and _REVISION.fullmatch(revision):
        raise errors.failed("resourceVersion should not be set on objects to be created")


def generated_name(obj: Object, suffix: str) -> str:
    """The object's name, or one made of generateName and the suffix; "" when it has neither."""
    metadata = metadata_of(obj)
    name, base = metadata.get("name") or "", metadata.get("generateName") or ""
    if name or not base:
        return str(name)
    return f"{base[:_GENERATE_NAME_LENGTH_MAX]}{suffix}"


def check_uid(kind: Kind, name: str, obj: Object, old: Object) -> None:
    """A PUT may say whom it replaces: StatusError Conflict when that is another."""
    given, uid = metadata_of(obj).get("uid"), metadata_of(old).get("uid", "")
    if given and given != uid:
        why = f"Precondition failed: UID in precondition: {given}, UID in object meta: {uid}"
        raise errors.conflict(kind.group, kind.plural, name, why)


def keep_system_fields(obj: Object, old: Object, *, is_subresource: bool = False) -> None:
    """The object is about the stored one, and takes its system fields from it. That it is being deleted, is given another time
    for that or another uid is for the validation to refuse."""
    metadata, old_metadata = metadata_of(obj), metadata_of(old)
    metadata["uid"] = metadata.get("uid") or old_metadata.get("uid", "")
    for key in _SYSTEM_FIELDS:
        if key not in old_metadata:
            if key not in _OF_DELETION or is_subresource or metadata.get(key) is None:
                metadata.pop(key, None)
        elif key != _GRACE or is_subresource or metadata.get(key) is None:
            metadata[key] = old_metadata[key]
    metadata.pop("selfLink", None)
    for key in ("labels", "annotations", "ownerReferences", "finalizers"):
        if key in metadata and not metadata[key]:
            del metadata[key]


def is_named(name: str, obj: Object) -> bool:
    metadata = obj.get("metadata")
    return isinstance(metadata, dict) and metadata.get("name") == name


def check_name(name: str, obj: Object, *, required: bool = False) -> None:
    """``required``: a PUT has to say whom it replaces, elsewhere the URL's name is filled in."""
    metadata = metadata_of(obj)
    given = metadata.get("name") or ""
    if not given:
        if required:
            why = f"the name of the object ({name} based on URL) was undeterminable: name must be provided"
            raise errors.bad_request(why)
        metadata["name"] = name
    elif given != name:
        raise errors.bad_request(f"the name of the object ({given}) does not match the name on the URL ({name})")


_DUPLICATE_OWNERS: Final = (
    ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and may reject "
    "such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {uids}"
)


def drop_repeated_owners(obj: Object, *, after_admission: bool) -> str:
    """An owner that is named twice is named once; answers the warning for whoever sent it, "" for none."""
    owners = metadata_of(obj).get("ownerReferences")
    if not isinstance(owners, list) or len(owners) < 2:
        return ""
    kept: dict[bytes, Object] = {}
    uids: dict[str, None] = {}
    for owner in owners:
        same = orjson.dumps(owner, option=orjson.OPT_SORT_KEYS)
        if same in kept:
            uids[str(owner.get("uid") or "")] = None
        else:
            kept[same] = owner
    if not uids:
        return ""
    metadata_of(obj)["ownerReferences"] = list(kept.values())
    when = " after mutating admission happens" if after_admission else ""
    return _DUPLICATE_OWNERS.format(when=when, uids=", ".join(uids))
