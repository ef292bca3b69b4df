"""A bootstrapped registry, and objects that tests are made of."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from edgekube.api.kinds import BUILT_IN, SERVICEACCOUNT
from edgekube.api.objects import Object
from edgekube.api.verbs import UserInfo
from edgekube.registry.bootstrap import bootstrap
from edgekube.registry.local import LocalVerbs
from edgekube.registry.state import Registry
from edgekube.store.sqlite import open_store

ADMIN = UserInfo("admin", groups=("system:masters", "system:authenticated"))
VOLATILE = frozenset(kind.resource for kind in BUILT_IN if not kind.durable)


@asynccontextmanager
async def open_registry(path: Path, **choices: Any) -> AsyncIterator[Registry]:
    """The second opening of a file finds what the first left."""
    async with open_store(path, volatile_resources=VOLATILE, ttl_seconds={"events": 3600.0}) as store:
        registry = Registry(store, draw=random.Random(7), **choices)
        await registry.load()
        await bootstrap(registry, addresses=["192.0.2.1"], port=6443, service_cidr=choices.get("service_cidr", "10.43.0.0/16"))
        yield registry


async def default_account(registry: Registry, namespace: str = "default") -> None:
    """What the service-account controller does for every namespace."""
    await LocalVerbs(registry, ADMIN).create(SERVICEACCOUNT, namespace, {"metadata": {"name": "default"}})


def config_map(name: str, data: dict[str, str] | None = None, **metadata: Any) -> Object:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name, **metadata}, "data": data or {"key": "value"}}


def pod(name: str, **spec: Any) -> Object:
    containers = [{"name": "main", "image": "demo:1"}]
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name}, "spec": {"containers": containers, **spec}}


def deployment(name: str, replicas: int = 1) -> Object:
    labels = {"app": name}
    return {
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "demo:1"}]}},
        },
    }


def service(name: str, **spec: Any) -> Object:
    return {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {"name": name},
        "spec": {"ports": [{"port": 80}], "selector": {"app": name}, **spec},
    }
