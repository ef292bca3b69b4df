"""/livez, /readyz and /healthz: is the server alive, may it be asked?

Enters: named checks and a path.
Leaves: "ok", or which check fails and why.
Holds: answers need no identity; a reason names no secret (source: kubernetes.io, "Kubernetes API health endpoints").
Next: server.app.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

#: None: well; else why not.
Check = Callable[[], str | None]

ENDPOINTS: Final = ("livez", "readyz", "healthz")


class Health:
    def __init__(self, live: Mapping[str, Check], ready: Mapping[str, Check]) -> None:
        """``ready`` adds to ``live``: a server that lives may still be starting, or draining."""
        ping: dict[str, Check] = {"ping": lambda: None}
        self._checks = {
            "livez": {**ping, **live},
            "healthz": {**ping, **live},
            "readyz": {**ping, **live, **ready},
        }

    def answer(self, path: str, excluded: list[str], *, verbose: bool) -> tuple[int, str] | None:
        """(status, text) of a health path; None when there is none of that name."""
        endpoint, _, name = path.strip("/").partition("/")
        checks = self._checks.get(endpoint)
        if checks is None:
            return None
        if name:
            check = checks.get(name)
            if check is None:
                return None
            why = check()
            return (200, "ok") if why is None else (500, f"internal server error: {why}\n")
        return self._all(endpoint, checks, excluded, verbose=verbose)

    def _all(self, endpoint: str, checks: Mapping[str, Check], excluded: list[str], *, verbose: bool) -> tuple[int, str]:
        lines: list[str] = []
        failed = False
        for name, check in checks.items():
            if name in excluded:
                lines.append(f"[+]{name} excluded: ok")
                continue
            why = check()
            failed = failed or why is not None
            lines.append(f"[+]{name} ok" if why is None else f"[-]{name} failed: {why}")
        if failed:
            return 500, "\n".join([*lines, f"{endpoint} check failed", ""])
        if not verbose:
            return 200, "ok"
        return 200, "\n".join([*lines, f"{endpoint} check passed", ""])
