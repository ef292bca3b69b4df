"""What an operator should do about an error that ended a server or an agent.

Enters: an exception, perhaps a group of them. Leaves: one line, or None for a fault of ours (which keeps its traceback).
Holds: pure. Next: cli.server, cli.agent print it.
"""

from __future__ import annotations

import errno

from edgekube.containerd.host import RuntimeUnavailable
from edgekube.pki.authority import AuthorityDamaged


def explain(error: BaseException, *spoken: type[BaseException]) -> str | None:
    """All leaves of a group must be explainable; the first one is told. ``spoken``: further errors whose text is for people."""
    leaves = list(_leaves(error))
    reasons = [str(leaf) if isinstance(leaf, spoken) else _reason(leaf) for leaf in leaves]
    if not reasons or None in reasons:
        return None
    return reasons[0]


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in _leaves(part)]
    return [error]


def _reason(error: BaseException) -> str | None:
    match error:
        case RuntimeUnavailable():
            return str(error)
        case AuthorityDamaged():
            return f"the cluster's certificates cannot be used: {error}"
        case OSError(errno=errno.EADDRINUSE):
            return (
                f"a port is in use already ({error.strerror}{_place(error)}): stop the other program (ss -ltnp shows it), "
                "or choose ports with --https-port and --agent-port"
            )
        case OSError(errno=errno.ENOSPC):
            return f"the disk is full{_place(error)}: free some space and start again; nothing was lost"
        case OSError(errno=errno.EACCES | errno.EPERM | errno.EROFS):
            return f"no permission to write{_place(error)}: {error.strerror}"
        case OSError(filename=name) if name is not None:
            return f"{name}: {error.strerror}"
    return None


def _place(error: OSError) -> str:
    return f" at {error.filename}" if error.filename else ""
