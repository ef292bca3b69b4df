"""Server-side printing: the columns that ``kubectl get`` shows, for every kind.

Enters: a kind, its decoded objects, and the time.
Leaves: columns and cells; the server makes the Table of them.
Holds: a row has as many cells as the kind has columns; a kind without a table of its own shows its name and creation time.
Modules of the groups are loaded when first asked for.
Source: behaviour of kubectl against kube-apiserver v1.36 (pkg/printers/internalversion).
Next: server.tables.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any, Final

from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, metadata_of
from edgekube.api.tables.columns import CREATED_AT, NAME, Column, Table, name

__all__ = ["Column", "cells_of", "columns_of", "row_conditions_of"]

#: API group -> module of this package with ``TABLES: dict[kind name, Table]``.
_MODULES: Final = {
    "": "core",
    "admissionregistration.k8s.io": "admissionregistration",
    "apiregistration.k8s.io": "apiregistration",
    "apps": "apps",
    "autoscaling": "autoscaling",
    "batch": "batch",
    "certificates.k8s.io": "certificates",
    "coordination.k8s.io": "coordination",
    "discovery.k8s.io": "discovery",
    "events.k8s.io": "events",
    "flowcontrol.apiserver.k8s.io": "flowcontrol",
    "metrics.k8s.io": "metrics",
    "networking.k8s.io": "networking",
    "node.k8s.io": "node",
    "policy": "policy",
    "rbac.authorization.k8s.io": "rbac",
    "resource.k8s.io": "resource",
    "scheduling.k8s.io": "scheduling",
    "storage.k8s.io": "storage",
}


def _default_cells(obj: Object, now: float) -> list[Any]:
    return [name(obj), metadata_of(obj).get("creationTimestamp")]


_DEFAULT: Final = Table((NAME, CREATED_AT), _default_cells)


@cache
def _table(group: str, kind: str) -> Table:
    module = _MODULES.get(group)
    if module is None:
        return _DEFAULT
    tables: dict[str, Table] = import_module(f"edgekube.api.tables.{module}").TABLES
    return tables.get(kind, _DEFAULT)


def _table_of(kind: Kind) -> Table:
    if kind.custom:
        from edgekube.api.custom.columns import table_of

        return table_of(kind.printer_columns)
    return _table(kind.group, kind.kind)


def is_default(kind: Kind) -> bool:
    """Nobody wrote a table for the kind."""
    return _table_of(kind) is _DEFAULT


def columns_of(kind: Kind) -> list[Column]:
    """The columns of the kind's table, those of ``-o wide`` (priority 1) included."""
    return list(_table_of(kind).columns)


def cells_of(kind: Kind, obj: Object, now: float) -> list[Any]:
    """One row, a cell per column; ``now`` in seconds since the epoch."""
    return _table_of(kind).cells(obj, now)


def row_conditions_of(kind: Kind, obj: Object) -> list[Object]:
    """TableRow conditions: a finished pod's row is marked Completed."""
    if kind.group or kind.kind != "Pod":
        return []
    phase = (obj.get("status") or {}).get("phase")
    message = {"Succeeded": "The pod has completed successfully.", "Failed": "The pod failed."}.get(phase or "")
    return [{"type": "Completed", "status": "True", "reason": phase, "message": message}] if message else []
