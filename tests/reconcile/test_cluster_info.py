"""cluster-info is written again when it could not be."""

from __future__ import annotations

import logging
import time

import pytest
import trio

from edgekube import limits
from edgekube.api import cluster_facts, cluster_info
from edgekube.api.cluster_facts import ClusterFacts
from edgekube.api.kinds import CONFIGMAP, KINDS, NAMESPACE
from edgekube.reconcile.cluster_info import keep_cluster_info
from tests.reconcile.conftest import Api

FACTS = ClusterFacts(
    "id", "hall", "10.42.0.0/16", "10.43.0.0/16", "10.43.0.10", "cluster.local", "PEM", ("https://1.2.3.4:6443",)
)


async def test_what_could_not_be_written_is_written_later(
    api: Api, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TOKEN_SWEEP_SECONDS", 0.05)
    quotas = KINDS.by_resource("", "v1", "resourcequotas")
    assert quotas is not None
    await api.verbs.create(NAMESPACE, "", {"metadata": {"name": "kube-public"}})
    hard = {"count/configmaps": "0"}
    await api.verbs.create(quotas, "kube-public", {"metadata": {"name": "full"}, "spec": {"hard": hard}})
    await api.verbs.patch(quotas, "kube-public", "full", {"status": {"hard": hard, "used": hard}}, subresource="status")
    facts = {"metadata": {"name": cluster_facts.NAME}, "data": FACTS.as_data()}
    await api.verbs.create(CONFIGMAP, "kube-system", facts)
    async with trio.open_nursery() as nursery:
        with caplog.at_level(logging.WARNING, "edgekube.reconcile"):
            nursery.start_soon(keep_cluster_info, api.verbs, time.time)

            async def refused() -> bool:
                return "cluster-info could not be written" in caplog.text

            await api.until(refused)
        await api.verbs.delete(quotas, "kube-public", "full")

        async def written() -> bool:
            return any(each["metadata"]["name"] == cluster_info.NAME for each in await api.all(CONFIGMAP, "kube-public"))

        await api.until(written)
        nursery.cancel_scope.cancel()
