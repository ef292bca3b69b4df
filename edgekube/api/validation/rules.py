"""The table of rules: which checks a kind has, and how its objects are named.

Enters: nothing; each group's rules are collected here.
Leaves: Rules by apiVersion and kind.
Holds: every stored built-in kind has a row; a test says so.
Next: api.validation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from edgekube.api import names
from edgekube.api.names import NameCheck
from edgekube.api.objects import Object
from edgekube.api.validation import apps, core, pods, services
from edgekube.api.validation.fields import Out

Check: TypeAlias = Callable[[Out, Object], None]
Change: TypeAlias = Callable[[Out, Object, Object], None]


@dataclass(frozen=True, slots=True)
class Rules:
    """``update`` replaces ``create`` on update when it is there; ``subresources`` replace both."""

    create: Check | None = None
    update: Change | None = None
    subresources: Mapping[str, Change] = field(default_factory=dict)
    name: NameCheck = names.dns1123_subdomain
    #: False for what is asked and never stored, and so has no name.
    metadata: bool = True


PLAIN: Final = Rules()

_CORE: Final[dict[str, Rules]] = {
    "Binding": Rules(pods.check_binding, metadata=False),
    "ConfigMap": Rules(core.check_config_map, core.check_config_map_update),
    "Endpoints": Rules(services.check_endpoints),
    "Event": Rules(core.check_event),
    "Namespace": Rules(
        core.check_namespace,
        core.check_namespace_finalize,
        {"status": core.check_namespace_status, "finalize": core.check_namespace_finalize},
        names.dns1123_label,
    ),
    "Node": Rules(core.check_node, core.check_node_update),
    "Pod": Rules(
        pods.check_pod_create,
        pods.check_pod_update,
        {
            "status": pods.check_pod_status,
            "ephemeralcontainers": pods.check_ephemeral_update,
            "resize": pods.check_resize,
        },
    ),
    "PodTemplate": Rules(core.check_pod_template),
    "ReplicationController": Rules(
        core.check_replication_controller, subresources={"status": core.check_replication_controller_status}
    ),
    "Secret": Rules(core.check_secret, core.check_secret_update),
    "Service": Rules(
        services.check_service, services.check_service_update, {"status": services.check_service_status}, names.dns1035_label
    ),
    "ServiceAccount": PLAIN,
}

_APPS: Final[dict[str, Rules]] = {
    "ControllerRevision": Rules(apps.check_controller_revision, apps.check_controller_revision_update),
    "DaemonSet": Rules(apps.check_daemon_set, apps.check_daemon_set_update, {"status": apps.check_daemon_set_status}),
    "Deployment": Rules(apps.check_deployment, apps.check_deployment_update, {"status": apps.check_deployment_status}),
    "ReplicaSet": Rules(apps.check_replica_set, apps.check_replica_set_update, {"status": apps.check_replica_set_status}),
    "StatefulSet": Rules(
        apps.check_stateful_set,
        apps.check_stateful_set_update,
        {"status": apps.check_stateful_set_status},
        names.dns1123_label,
    ),
}

GROUPS: Final[dict[str, dict[str, Rules]]] = {"v1": _CORE, "apps/v1": _APPS}
