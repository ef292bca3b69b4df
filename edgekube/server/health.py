"""/livez, /readyz and /healthz: is the server alive, may it be asked?

Enters: named checks and a path.
Leaves: "ok", or which check fails; why is said by the path of that check alone.
Holds: answers need no identity; a reason names no secret (source: kubernetes.io, "Kubernetes API health endpoints").
Next: server.app.
"""

from __future__ import annotations

from collections import Counter
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
        self._found: Counter[tuple[str, str, str]] = Counter()

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
            lines.append(f"[+]{name} ok" if why is None else f"[-]{name} failed: reason withheld")
        unknown = ",".join(f'"{name}"' for name in sorted(set(excluded) - checks.keys()))
        if unknown:
            lines.append(f"warn: some health checks cannot be excluded: no matches for {unknown}")
        if failed:
            return 500, "\n".join([*lines, f"{endpoint} check failed", ""])
        if not verbose:
            return 200, "ok"
        return 200, "\n".join([*lines, f"{endpoint} check passed", ""])

    def paths(self) -> list[str]:
        """Each endpoint, and each check of it by its own path."""
        return [f"/{endpoint}{name and '/' + name}" for endpoint, checks in self._checks.items() for name in ("", *checks)]

    def slis(self) -> str:
        """/metrics/slis: how each check stands, and how often it was found so here (KEP-3466)."""
        now, often = "kubernetes_healthcheck", "kubernetes_healthchecks_total"
        gauges = [f"# HELP {now} This metric records the result of a single healthcheck.", f"# TYPE {now} gauge"]
        for endpoint, checks in self._checks.items():
            for name, check in checks.items():
                status = "success" if check() is None else "error"
                self._found[name, endpoint, status] += 1
                gauges.append(f'{now}{{name="{name}",type="{endpoint}"}} {int(status == "success")}')
        counters = [f"# HELP {often} This metric records the results of all healthcheck.", f"# TYPE {often} counter"]
        for (name, endpoint, status), count in self._found.items():
            counters.append(f'{often}{{name="{name}",status="{status}",type="{endpoint}"}} {count}')
        return "\n".join([*gauges, *counters, ""])
