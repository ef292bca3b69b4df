"""The table of kinds that this server serves now: the built-in rows, and those of CustomResourceDefinitions.

Enters: rows of custom kinds, a whole new set with each change.
Leaves: the look-ups of api.kinds.KindTable; a generation that rises with each change; calls to whoever wants to know of it.
Holds: a group version or a resource that is built in stays so, whatever a definition says. Custom groups come after the
built-in ones, their versions most preferred first. Reading costs a dictionary look-up.
Next: server.discovery, server.openapi, server.app, reconcile.garbage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from edgekube.api.custom.versions import priority
from edgekube.api.kinds import KINDS, Kind, KindTable


class ServedKinds:
    def __init__(self, built_in: KindTable = KINDS) -> None:
        self._built_in = built_in
        self._group_versions = {row.api_version for row in built_in.rows}
        self._resources = {row.resource for row in built_in.rows}
        self._custom = KindTable(())
        #: Every row that discovery names.
        self.rows: tuple[Kind, ...] = built_in.rows
        #: One row for each custom resource, in its stored version, which may not be served.
        self._stored: tuple[Kind, ...] = ()
        #: Kind → the others under which its objects are served; of the kinds that policies and webhooks were asked about.
        self._alike: dict[Kind, tuple[Kind, ...]] = {}
        self.generation = 0
        #: Called after each change, in the task that made it: must not block.
        self.changed: list[Callable[[], None]] = []

    def by_resource(self, group: str, version: str, plural: str) -> Kind | None:
        return self._built_in.by_resource(group, version, plural) or self._custom.by_resource(group, version, plural)

    def by_kind(self, api_version: str, kind: str) -> Kind | None:
        return self._built_in.by_kind(api_version, kind) or self._custom.by_kind(api_version, kind)

    def stored_rows(self) -> tuple[Kind, ...]:
        """The rows by which every stored object is met: the built-in ones, and each custom resource once, in the version in which
        its objects are stored, so that nobody has to convert them."""
        return self._built_in.rows + self._stored

    def stored_row(self, kind: Kind) -> Kind | None:
        """The row in whose version the kind's objects are stored; None: nothing is stored, or the version is not served."""
        if kind.custom:
            return next((row for row in self._stored if row.resource == kind.resource and row in self.rows), None)
        if not kind.stored or "create" not in kind.verbs:
            return None
        return next(row for row in self._built_in.rows if row.resource == kind.resource and row.stored_as is None)

    def alike(self, kind: Kind) -> tuple[Kind, ...]:
        """The other kinds under which the same objects are served."""
        found = self._alike.get(kind)
        if found is None:
            found = self._alike[kind] = tuple(row for row in self.rows if row.resource == kind.resource and row != kind)
        return found

    def put_custom(self, rows: Iterable[Kind], stored: Iterable[Kind]) -> None:
        """Instead of all custom rows that there were."""
        served = sorted(
            (row for row in rows if row.api_version not in self._group_versions and row.resource not in self._resources),
            key=lambda row: (row.group, priority(row.version), row.plural),
        )
        held = tuple(
            sorted((row for row in stored if row.resource not in self._resources), key=lambda row: (row.group, row.plural))
        )
        if tuple(served) == self._custom.rows and held == self._stored:
            return
        self._custom = KindTable(served)
        self._stored = held
        self.rows = self._built_in.rows + self._custom.rows
        self._alike.clear()
        self.generation += 1
        for tell in list(self.changed):
            tell()
