"""What a plan answers: API calls as data, so that planners stay pure and the executor is left with no choices.

Enters: decisions of controllers and scheduler.
Leaves: values that reconcile.execute turns into Verbs, in order.
Holds: a call names everything it needs; executing it twice is harmless, or fails with
AlreadyExists, NotFound or Conflict, which mean "plan again".
Next: reconcile.execute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from msgspec import Struct

from edgekube.api.errors import StatusError
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.api.verbs import DEFAULT_DELETE, MERGE_PATCH, DeleteOptions


class Report(Struct, frozen=True):
    """The Events about a call, whose outcome the plan cannot know: ``{name}`` is the name that the server gave, ``{error}`` why
    the call failed. An empty reason records nothing."""

    about: Object
    success_reason: str
    success_message: str
    failure_reason: str = ""
    failure_message: str = ""


#: What to do instead of the rest of the plan when a call has failed, e.g. say so in the owner's status.
OnFailure: TypeAlias = Callable[[StatusError], "Sequence[Call]"]


class Create(Struct, frozen=True):
    kind: Kind
    namespace: str
    object: Object
    subresource: str = ""
    name: str = ""  # with subresource only
    report: Report | None = None
    on_failure: OnFailure | None = None


class Update(Struct, frozen=True):
    """Replace; the object carries the resourceVersion it was planned from."""

    kind: Kind
    object: Object
    subresource: str = ""


class Patch(Struct, frozen=True):
    kind: Kind
    namespace: str
    name: str
    patch: Object | list[Object]
    patch_type: str = MERGE_PATCH
    subresource: str = ""
    report: Report | None = None
    on_failure: OnFailure | None = None


class Delete(Struct, frozen=True):
    kind: Kind
    namespace: str
    name: str
    options: DeleteOptions = DEFAULT_DELETE
    report: Report | None = None
    on_failure: OnFailure | None = None


class Record(Struct, frozen=True):
    """An Event about an object, as ``kubectl describe`` shows it; the recorder counts repeats and bounds the rate."""

    about: Object
    type: str  # Normal, Warning
    reason: str  # UpperCamelCase
    message: str
    #: Part of the object, e.g. ``spec.containers{web}`` (ObjectReference.fieldPath).
    field_path: str = ""


class Later(Struct, frozen=True):
    """Plan this key again after so many seconds, whatever happens before."""

    delay_seconds: float


class Require(Struct, frozen=True):
    """Go on only while the API itself, not just the view, has the object with this uid and is not deleting it."""

    kind: Kind
    namespace: str
    name: str
    uid: str


class RequireGone(Struct, frozen=True):
    """Go on only when the API itself, not just the view, has no object of this name, or one of another uid."""

    kind: Kind
    namespace: str
    name: str
    uid: str = ""


class RequireNone(Struct, frozen=True):
    """Go on only when the API itself, not just the view, has no object of which ``holds`` is true. In one namespace."""

    kind: Kind
    namespace: str
    holds: Callable[[Object], bool]


Call: TypeAlias = Create | Update | Patch | Delete | Record | Later | Require | RequireGone | RequireNone
