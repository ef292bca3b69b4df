"""Tables of metrics.k8s.io, as metrics-server prints them.

Enters: decoded NodeMetrics and PodMetrics.
Leaves: cells.
Source: kubernetes-sigs/metrics-server pkg/api/table.go.
Next: api.tables.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube.api import quantities
from edgekube.api.objects import Object
from edgekube.api.tables.columns import NAME, Column, Table, name

_COLUMNS: Final = (NAME, Column("cpu"), Column("memory"), Column("window"))


def _node(obj: Object, now: float) -> list[Any]:
    usage = obj.get("usage") or {}
    return [name(obj), usage.get("cpu"), usage.get("memory"), obj.get("window")]


def _pod(obj: Object, now: float) -> list[Any]:
    cpu, memory = "0", "0"
    for container in obj.get("containers") or ():
        cpu = quantities.add(cpu, container["usage"]["cpu"])
        memory = quantities.add(memory, container["usage"]["memory"])
    return [name(obj), cpu, memory, obj.get("window")]


TABLES: Final = {"NodeMetrics": Table(_COLUMNS, _node), "PodMetrics": Table(_COLUMNS, _pod)}
