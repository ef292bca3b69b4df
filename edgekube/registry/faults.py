"""What a store raises, as Kubernetes errors.

Enters: StoreError and the resource that was asked for.
Leaves: StatusError with upstream's reasons, codes and words.
Holds: every StoreError has an answer; an unknown one is a 500 that names it.
Next: server.respond.
"""

from __future__ import annotations

from edgekube.api import errors
from edgekube.api.errors import Cause, StatusError
from edgekube.api.kinds import Kind
from edgekube.store.protocol import (
    Compacted,
    FutureRevision,
    KeyExists,
    KeyMissing,
    RevisionConflict,
    StoreError,
    StoreUnavailable,
)

CONTINUE_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted "
    "between the time the first chunk was returned and now may show up in the list."
)


def as_status(error: StoreError, kind: Kind, name: str) -> StatusError:
    match error:
        case KeyExists():
            return errors.already_exists(kind.group, kind.plural, name)
        case KeyMissing():
            return errors.not_found(kind.group, kind.plural, name)
        case RevisionConflict():
            return errors.conflict(kind.group, kind.plural, name)
        case Compacted():
            return errors.expired("The resourceVersion for the provided list is too old.")
        case FutureRevision():
            return errors.expired("The resourceVersion is of a later time than this server's state.")
        case StoreUnavailable():
            return errors.unavailable(f"the store cannot write: {error}", retry_after_seconds=5)
    return errors.internal(f"store: {error}")


def too_large_revision(asked: int, current: int) -> StatusError:
    """504, as storage.NewTooLargeResourceVersionError: clients wait and ask again."""
    return StatusError(
        "Timeout",
        f"Timeout: Too large resource version: {asked}, current: {current}",
        causes=[Cause("ResourceVersionTooLarge", "Too large resource version")],
        retry_after_seconds=1,
    )


def too_old_revision(asked: int, oldest: int) -> StatusError:
    return errors.expired(f"too old resource version: {asked} ({oldest})")
