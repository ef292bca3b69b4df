"""An operator made with kopf: handlers for its own kind, a child that belongs to its parent, a finalizer, a timer-free life.

Run by tests.clients.test_kopf through kopf's own command line.
"""

# kopf gives a handler what it names, which types cannot say.
# mypy: ignore-errors
from __future__ import annotations

from typing import Any

import kopf
import kubernetes


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.persistence.finalizer = "clients.edgekube.test/greenhouse"
    kubernetes.config.load_kube_config()


@kopf.on.create("greenhouses.clients.edgekube.test")
def created(spec: kopf.Spec, body: kopf.Body, name: str, namespace: str, **_: Any) -> dict[str, Any]:
    child: dict[str, Any] = {"metadata": {"name": f"{name}-plants"}, "data": {"plants": str(spec["plants"])}}
    kopf.adopt(child)
    made = kubernetes.client.CoreV1Api().create_namespaced_config_map(namespace, child)
    kopf.info(body, reason="Planted", message=f"{spec['plants']} plants")
    return {"child": made.metadata.name}


@kopf.on.field("greenhouses.clients.edgekube.test", field="spec.plants")
def replanted(old: Any, new: Any, name: str, namespace: str, **_: Any) -> None:
    if old is not None:
        patch = {"data": {"plants": str(new)}}
        kubernetes.client.CoreV1Api().patch_namespaced_config_map(f"{name}-plants", namespace, patch)


@kopf.on.event("configmaps", labels={"weather": kopf.PRESENT})
def weather(body: kopf.Body, namespace: str, logger: kopf.Logger, type: str | None, **_: Any) -> None:
    logger.info(f"weather is {body['metadata']['labels']['weather']} ({type})")


@kopf.on.delete("greenhouses.clients.edgekube.test")
def deleted(name: str, namespace: str, **_: Any) -> None:
    body = {"metadata": {"name": f"{name}-farewell"}}
    kubernetes.client.CoreV1Api().create_namespaced_config_map(namespace, body)
