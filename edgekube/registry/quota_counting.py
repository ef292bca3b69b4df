"""Count what each namespace with quotas uses, when something went away and now and then.

Enters: namespaces, as registry.quota_space says that they are due.
Leaves: status.hard and status.used of their quotas.
Holds: nobody writes between charge and store while a namespace is counted, so that nothing is counted twice or missed. What is
right already is not written. A cluster without quotas sleeps.
Bound: one page of objects at a time; limits.QUOTA_COUNTING_PERCENT_MAX of the time.
Source: k8s.io/kubernetes pkg/controller/resourcequota.
Next: admission.quota.count says what is used.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

import orjson
import trio

from edgekube import limits
from edgekube.admission.pod_resources import Amounts, plus
from edgekube.admission.quota import count
from edgekube.admission.quota.meters import Meter, changes_with_time, counted_kinds, meter_of
from edgekube.api.errors import StatusError
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, name_of
from edgekube.registry.quotas import put_status
from edgekube.registry.standing import QUOTAS
from edgekube.registry.state import Registry
from edgekube.store.protocol import Key, StoreError

log = logging.getLogger("edgekube.registry")

_ATTEMPTS_MAX: Final = 20


async def keep_counting(registry: Registry) -> None:
    """Runs until cancelled."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_now_and_then, registry)
        while True:
            namespace = await registry.quotas.next_due()
            started = trio.current_time()
            try:
                await recount(registry, namespace)
            except (StatusError, StoreError) as error:
                log.warning("namespace=%s its quotas could not be counted, trying again why=%r", namespace, str(error))
                registry.quotas.counted(namespace, limits.QUOTA_SETTLE_SECONDS)
                registry.quotas.touch(namespace)
            else:
                registry.quotas.counted(namespace, trio.current_time() - started)


async def _now_and_then(registry: Registry) -> None:
    """Pods come to be counted no more by time alone; and whatever was missed ends here."""
    while True:
        for namespace in registry.standing.namespaces(QUOTAS):
            registry.quotas.touch(namespace)
        await trio.sleep(limits.QUOTA_RESYNC_SECONDS)


async def recount(registry: Registry, namespace: str) -> None:
    if not registry.standing.any(QUOTAS, namespace):
        return
    async with registry.quotas.of(namespace).alone():
        quotas = _quotas(registry, namespace)
        counted: dict[str, Amounts] = {name_of(quota): {} for quota in quotas}
        wanted = {name for quota in quotas for name in count.limited(quota)}
        for kind, meter in _kinds(registry, wanted):
            await _count(registry, kind, meter, namespace, quotas, counted)
        for name, used in counted.items():
            await _write(registry, namespace, name, used)


def _quotas(registry: Registry, namespace: str) -> list[Object]:
    return [orjson.loads(raw) for raw in registry.standing.of(QUOTAS, namespace)]


def _kinds(registry: Registry, names: set[str]) -> Iterator[tuple[Kind, Meter]]:
    """What has to be looked at for these names, each once, whatever its versions."""
    rows = {row.group_resource: row for row in registry.kinds.rows if row.namespaced and row.stored}
    for group_resource in counted_kinds(names):
        meter, row = meter_of(group_resource), rows.get(group_resource)
        if meter is not None and row is not None:
            yield row, meter


async def _count(
    registry: Registry, kind: Kind, meter: Meter, namespace: str, quotas: list[Object], counted: dict[str, Amounts]
) -> None:
    measured = changes_with_time(kind.group_resource)
    after: Key | None = None
    while True:
        page = await registry.store.list(kind.resource, namespace, limit=limits.QUOTA_PAGE_OBJECTS_MAX, after=after)
        # What is only counted need not be read.
        objects: list[Object] = [orjson.loads(record.value) for record in page.records] if measured else [{}] * len(page.records)
        for quota in quotas:
            used = count.used_by(quota, meter, objects, registry.clock())
            counted[name_of(quota)] = plus(counted[name_of(quota)], used)
        after = page.next_after
        if after is None:
            return
        await trio.lowlevel.checkpoint()


async def _write(registry: Registry, namespace: str, name: str, used: Amounts) -> None:
    def status(quota: Object) -> Object | None:
        made = count.status_of(quota, used)
        return made if count.is_news(quota, made) else None

    await put_status(registry, namespace, name, status)
