"""/configz: the kubelet's configuration, as far as this agent has one.

Enters: Settings.
Leaves: a KubeletConfiguration under ``kubeletconfig``.
Holds: pure; nothing secret is among it; what this agent does not have is absent.
Source: kubernetes.io, "Kubelet Configuration (v1beta1)".
Next: agent.server.
"""

from __future__ import annotations

from typing import Final

from edgekube import limits
from edgekube.api.objects import Object
from edgekube.node_rules import NodeRules
from edgekube.settings import Settings

#: As the kubelet's, see agent.access.
_ACCESS: Final[Object] = {
    "authentication": {
        "x509": {},
        "webhook": {"enabled": True, "cacheTTL": f"{limits.AGENT_TOKEN_KEPT_SECONDS:.0f}s"},
        "anonymous": {"enabled": False},
    },
    "authorization": {
        "mode": "Webhook",
        "webhook": {
            "cacheAuthorizedTTL": f"{limits.AGENT_ALLOWED_KEPT_SECONDS:.0f}s",
            "cacheUnauthorizedTTL": f"{limits.AGENT_REFUSED_KEPT_SECONDS:.0f}s",
        },
    },
}


def configz(settings: Settings) -> Object:
    configuration: Object = {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "staticPodPath": str(settings.agent_dir / "manifests"),
        "port": settings.agent_port,
        **_ACCESS,
        "clusterDomain": settings.cluster_domain,
        "clusterDNS": list(settings.cluster_dns_addresses),
        "nodeStatusReportFrequency": f"{limits.NODE_STATUS_REPORT_SECONDS:.0f}s",
        "cgroupRoot": settings.cgroup_parent,
        "podLogsDir": str(settings.pod_logs_dir),
        "cgroupDriver": "cgroupfs",
        "cpuManagerPolicy": "none",
        "memoryManagerPolicy": "None",
        "topologyManagerPolicy": "none",
        "podPidsLimit": settings.pod_pids_limit or -1,
        "failSwapOn": False,
        "memorySwap": {"swapBehavior": settings.memory_swap},
        "allowedUnsafeSysctls": list(settings.allowed_unsafe_sysctls),
        "enableServer": True,
        "enableDebuggingHandlers": True,
        "enableSystemLogHandler": True,
        "enableSystemLogQuery": True,
        "containerRuntimeEndpoint": f"unix://{settings.containerd_address or settings.containerd_state / 'containerd.sock'}",
    }
    return {"kubeletconfig": {**configuration, **_of_the_node(settings.node)}}


def _of_the_node(rules: NodeRules) -> Object:
    return {
        "maxPods": rules.pods_max,
        "kubeReserved": dict(rules.kube_reserved),
        "systemReserved": dict(rules.system_reserved),
        "enforceNodeAllocatable": sorted(rules.enforce_allocatable),
        "evictionHard": dict(rules.eviction_hard),
        "evictionSoft": dict(rules.eviction_soft),
        "evictionSoftGracePeriod": dict(rules.eviction_soft_grace),
        "evictionMinimumReclaim": dict(rules.eviction_minimum_reclaim),
        "evictionPressureTransitionPeriod": _text(rules.eviction_transition_seconds),
        "evictionMaxPodGracePeriod": rules.eviction_grace_seconds_max,
        "imageGCHighThresholdPercent": rules.image_gc_high_percent,
        "imageGCLowThresholdPercent": rules.image_gc_low_percent,
        "imageMinimumGCAge": _text(rules.image_age_seconds_min),
        "imageMaximumGCAge": _text(rules.image_age_seconds_max),
        "serializeImagePulls": rules.image_pulls_max == 1,
        "maxParallelImagePulls": rules.image_pulls_max,
        "imagePullCredentialsVerificationPolicy": rules.image_verification,
        "shutdownGracePeriod": _text(rules.shutdown_grace_seconds),
        "shutdownGracePeriodCriticalPods": _text(rules.shutdown_grace_critical_seconds),
    }


def _text(seconds: float) -> str:
    return f"{seconds:g}s"
