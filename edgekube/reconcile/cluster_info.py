"""Keep kube-public/cluster-info true: the server's address and authorities, signed for every bootstrap token; end these in time.

Enters: the cluster's facts (kube-system/edgekube-cluster), Secrets of bootstrap tokens, the ConfigMap itself.
Leaves: the ConfigMap; at the start the Role and the RoleBinding by which everybody may read it, where they are missing; no Secret
of a token that has expired.
Holds: it is written when what it should say is another thing, and at no other time; whoever deletes it gets it back. A kubeconfig
that people wrote into it is signed as it is, until the server has other addresses or authorities to tell of, or starts anew.
Bound: limits.BOOTSTRAP_TOKENS_MAX signatures.
Next: api.cluster_info decides; server.entry lets strangers read it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import orjson
import trio

from edgekube import limits
from edgekube.api import bootstrap_tokens, cluster_facts, cluster_info
from edgekube.api.errors import StatusError
from edgekube.api.kinds import CONFIGMAP, ROLE, ROLEBINDING, SECRET
from edgekube.api.objects import Object, is_deleting, name_of, uid_of
from edgekube.api.verbs import DeleteOptions, ListOptions, Verbs
from edgekube.reconcile.by_name import ByName
from edgekube.reconcile.follow import follow
from edgekube.reconcile.one_object import OneObject, follow_one

log = logging.getLogger("edgekube.reconcile")


async def keep_cluster_info(verbs: Verbs, clock: Callable[[], float]) -> None:
    """Until cancelled."""
    news = trio.Event()

    def changed() -> None:
        news.set()

    tokens, facts, shown = ByName(changed), OneObject(changed, first=True), OneObject(changed, first=True)
    selection = ListOptions(field_selector=f"type={bootstrap_tokens.TYPE}")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: follow(verbs, SECRET, tokens, selection, namespace=bootstrap_tokens.NAMESPACE))
        nursery.start_soon(follow_one, verbs, CONFIGMAP, cluster_facts.NAMESPACE, cluster_facts.NAME, facts)
        nursery.start_soon(follow_one, verbs, CONFIGMAP, cluster_info.NAMESPACE, cluster_info.NAME, shown)
        for known in (tokens.listed, facts.synced, shown.synced):
            await known.wait()
        await _let_it_be_read(verbs)
        written = ""
        while True:
            news = trio.Event()
            expired = [secret for secret in tokens.objects.values() if bootstrap_tokens.has_expired(secret, clock())]
            done = await _end(verbs, expired)
            secrets = [secret for secret in tokens.objects.values() if secret not in expired][: limits.BOOTSTRAP_TOKENS_MAX]
            if facts.raw is not None:
                told = await _write(verbs, orjson.loads(facts.raw), shown.raw, secrets, clock(), written)
                written, done = told or written, done and told is not None
            with trio.move_on_after(_patience(secrets, clock()) if done else limits.TOKEN_SWEEP_SECONDS):
                await news.wait()


def _patience(secrets: list[Object], now: float) -> float:
    """Until the next token expires; the clock may be set meanwhile. Without one that does, only news wake us."""
    next_end = min((end for secret in secrets if (end := bootstrap_tokens.expires_at(secret)) > now), default=math.inf)
    return math.inf if next_end == math.inf else min(next_end - now, limits.TOKEN_SWEEP_SECONDS)


async def _end(verbs: Verbs, expired: list[Object]) -> bool:
    """False: some stay, and are to be tried again."""
    done = True
    for secret in expired:
        try:
            options = DeleteOptions(precondition_uid=uid_of(secret))
            await verbs.delete(SECRET, bootstrap_tokens.NAMESPACE, name_of(secret), options)
        except StatusError as error:
            if error.reason not in ("NotFound", "Conflict"):
                log.warning("an expired bootstrap token stays name=%s why=%r", name_of(secret), error.message)
                done = False
    return done


async def _write(verbs: Verbs, facts: Object, raw: bytes | None, secrets: list[Object], now: float, written: str) -> str | None:
    """The kubeconfig that the server has to tell; None: to be tried again. ``written``: what it told before."""
    try:
        read = cluster_facts.facts_from(facts.get("data") or {})
    except ValueError as error:
        log.warning("cluster-info is left as it is why=%r", str(error))
        return written
    own = cluster_info.kubeconfig(read.servers[0], read.authorities)
    there: Object | None = orjson.loads(raw) if raw is not None else None
    data = (there or {}).get("data") or {}
    content = data.get(cluster_info.KUBECONFIG) or own if own == written else own
    wanted = cluster_info.wanted(data, content, secrets, now)
    if there is not None and (wanted == data or is_deleting(there)):
        return own
    try:
        if there is None:
            metadata = {"name": cluster_info.NAME, "namespace": cluster_info.NAMESPACE}
            await verbs.create(CONFIGMAP, cluster_info.NAMESPACE, {"metadata": metadata, "data": wanted})
        else:
            await verbs.update(CONFIGMAP, {**there, "data": wanted})
    except StatusError as error:
        # Whoever was first is seen in a moment, and looked at again.
        if error.reason not in ("AlreadyExists", "Conflict", "NotFound"):
            log.warning("cluster-info could not be written why=%r", error.message)
            return None
        return written
    return own


async def _let_it_be_read(verbs: Verbs) -> None:
    for kind, obj in zip((ROLE, ROLEBINDING), cluster_info.reading_rights(), strict=True):
        try:
            await verbs.create(kind, cluster_info.NAMESPACE, obj)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                log.warning("cluster-info cannot be opened to everybody why=%r", error.message)
