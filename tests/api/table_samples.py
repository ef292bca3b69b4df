"""One or more objects per kind, for the golden tables. The time is 2026-01-02T04:04:05Z, an hour after they were made."""

from typing import Any, Final

from edgekube.api.objects import Object

NOW: Final = 1767326645.0
MADE: Final = "2026-01-02T03:04:05Z"


def made(name: str, /, namespace: str = "", **fields: Any) -> Object:
    metadata: Object = {"name": name, "creationTimestamp": MADE, **fields.pop("metadata", {})}
    if namespace:
        metadata["namespace"] = namespace
    return {"metadata": metadata, **fields}


def template(*containers: tuple[str, str], **spec: Any) -> Object:
    return {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": n, "image": i} for n, i in containers], **spec},
    }


def running(name: str, restarts: int = 0, last: str = "", **more: Any) -> Object:
    status: Object = {
        "name": name,
        "ready": True,
        "started": True,
        "restartCount": restarts,
        "state": {"running": {"startedAt": MADE}},
    }
    if last:
        status["lastState"] = {"terminated": {"exitCode": 1, "finishedAt": last}}
    return {**status, **more}


def waiting(name: str, reason: str, restarts: int = 0) -> Object:
    return {"name": name, "ready": False, "restartCount": restarts, "state": {"waiting": {"reason": reason}}}


def ended(name: str, exit_code: int = 0, **terminated: Any) -> Object:
    return {"name": name, "ready": False, "restartCount": 0, "state": {"terminated": {"exitCode": exit_code, **terminated}}}


def pod(name: str, containers: int = 1, phase: str = "Running", **parts: Any) -> Object:
    status = {"phase": phase, **parts.pop("status", {})}
    spec = {"containers": [{"name": f"c{i}"} for i in range(containers)], **parts.pop("spec", {})}
    return made(name, "shop", spec=spec, status=status, **parts)


READY: Final = {"type": "Ready", "status": "True"}
INITIALIZED: Final = {"type": "Initialized", "status": "True"}
DELETED: Final = {"deletionTimestamp": MADE}
TWO_INITS: Final = [{"name": "i0"}, {"name": "i1"}]

PODS: Final[list[Object]] = [
    pod("bare", phase="Pending", status={}),
    pod(
        "gated",
        phase="Pending",
        status={"conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]},
    ),
    pod(
        "creating", phase="Pending", spec={"nodeName": "pi-1"}, status={"containerStatuses": [waiting("c0", "ContainerCreating")]}
    ),
    pod(
        "init-0",
        phase="Pending",
        spec={"initContainers": TWO_INITS},
        status={"initContainerStatuses": [waiting("i0", "PodInitializing")]},
    ),
    pod(
        "init-1",
        phase="Pending",
        spec={"initContainers": TWO_INITS},
        status={"initContainerStatuses": [ended("i0"), running("i1", ready=False)]},
    ),
    pod(
        "init-failed",
        phase="Pending",
        spec={"initContainers": TWO_INITS},
        status={"initContainerStatuses": [{**ended("i0", 3), "restartCount": 2}]},
    ),
    pod(
        "init-killed",
        phase="Pending",
        spec={"initContainers": TWO_INITS},
        status={"initContainerStatuses": [ended("i0", 137, signal=9)]},
    ),
    pod(
        "init-error",
        phase="Pending",
        spec={"initContainers": TWO_INITS},
        status={"initContainerStatuses": [ended("i0", 1, reason="Error")]},
    ),
    pod(
        "init-loop",
        phase="Pending",
        spec={"initContainers": TWO_INITS},
        status={"initContainerStatuses": [waiting("i0", "CrashLoopBackOff", 5)]},
    ),
    pod(
        "initialized",
        phase="Pending",
        spec={"initContainers": TWO_INITS},
        status={
            "initContainerStatuses": [ended("i0", reason="Completed"), ended("i1")],
            "containerStatuses": [waiting("c0", "PodInitializing")],
        },
    ),
    pod(
        "sidecar",
        1,
        spec={"initContainers": [{"name": "proxy", "restartPolicy": "Always"}]},
        status={
            "conditions": [READY, INITIALIZED],
            "containerStatuses": [running("c0")],
            "initContainerStatuses": [running("proxy", 1, "2026-01-02T04:00:05Z")],
        },
    ),
    pod(
        "web",
        2,
        spec={"nodeName": "pi-1", "readinessGates": [{"conditionType": "lb"}, {"conditionType": "x"}]},
        status={
            "podIP": "10.42.0.7",
            "podIPs": [{"ip": "10.42.0.7"}],
            "conditions": [READY, {"type": "lb", "status": "True"}],
            "containerStatuses": [running("c0", 3, "2026-01-02T04:02:05Z"), running("c1")],
        },
    ),
    pod("half", 2, status={"containerStatuses": [running("c0"), waiting("c1", "CrashLoopBackOff", 4)]}),
    pod("image", status={"containerStatuses": [waiting("c0", "ImagePullBackOff")]}, phase="Pending"),
    pod("done", phase="Succeeded", status={"containerStatuses": [ended("c0", reason="Completed")]}),
    pod("failed", phase="Failed", status={"containerStatuses": [ended("c0", 1, reason="Error")]}),
    pod("oom", phase="Failed", status={"containerStatuses": [ended("c0", 137, reason="OOMKilled")]}),
    pod("code", phase="Failed", status={"containerStatuses": [ended("c0", 7)]}),
    pod("signal", phase="Failed", status={"containerStatuses": [ended("c0", 7, signal=15)]}),
    pod("evicted", phase="Failed", status={"reason": "Evicted"}),
    pod("one-done", 2, status={"conditions": [READY], "containerStatuses": [ended("c0", reason="Completed"), running("c1")]}),
    pod("one-done-not-ready", 2, status={"containerStatuses": [ended("c0", reason="Completed"), running("c1")]}),
    pod("leaving", metadata=DELETED, status={"containerStatuses": [running("c0")]}),
    pod("left", metadata=DELETED, phase="Succeeded", status={"containerStatuses": [ended("c0", reason="Completed")]}),
    pod("lost", metadata=DELETED, status={"reason": "NodeLost", "containerStatuses": [running("c0")]}),
    pod("preempting", phase="Pending", status={"nominatedNodeName": "pi-2"}),
]

WORKLOAD: Final = {"selector": {"matchLabels": {"app": "web"}}, "template": template(("web", "web:1"), ("log", "log:2"))}
PORT: Final = {"port": 80, "protocol": "TCP"}

#: (apiVersion, kind) -> objects.
SAMPLES: Final[dict[tuple[str, str], list[Object]]] = {
    ("v1", "Pod"): PODS,
    ("v1", "ComponentStatus"): [
        made("store", conditions=[{"type": "Healthy", "status": "True", "message": "ok"}]),
        made("scheduler", conditions=[{"type": "Healthy", "status": "False", "error": "no answer"}]),
        made("other"),
    ],
    ("v1", "ConfigMap"): [made("config", data={"a": "1", "b": "2"}, binaryData={"c": "YQ=="}), made("empty")],
    ("v1", "Endpoints"): [
        made("web", subsets=[{"addresses": [{"ip": f"10.42.0.{i}"} for i in range(2, 6)], "ports": [{"port": 80}]}]),
        made("six", subsets=[{"addresses": [{"ip": "fd00::1"}], "ports": [{"port": 80}, {"port": 81}]}]),
        made("portless", subsets=[{"addresses": [{"ip": "10.42.0.9"}]}]),
        made("none"),
    ],
    ("v1", "Event"): [
        made(
            "web.1",
            involvedObject={"kind": "Pod", "name": "web", "fieldPath": "spec.containers{web}"},
            type="Normal",
            reason="Started",
            message=" Started container web \n",
            firstTimestamp=MADE,
            lastTimestamp="2026-01-02T04:03:05Z",
            count=3,
            source={"component": "kubelet", "host": "pi-1"},
        ),
        made(
            "web.2",
            involvedObject={"kind": "Pod", "name": "web"},
            type="Warning",
            reason="BackOff",
            message="Back-off",
            eventTime="2026-01-02T04:00:05.000000Z",
            reportingComponent="kubelet",
            reportingInstance="pi-1",
        ),
        made(
            "web.3",
            involvedObject={"kind": "Node"},
            type="Normal",
            reason="Seen",
            message="again",
            eventTime="2026-01-02T04:00:05.000000Z",
            series={"count": 9, "lastObservedTime": "2026-01-02T04:04:00.000000Z"},
        ),
    ],
    ("v1", "LimitRange"): [made("limits")],
    ("v1", "Namespace"): [made("shop", status={"phase": "Active"}), made("old", status={"phase": "Terminating"})],
    ("v1", "Node"): [
        made(
            "pi-1",
            metadata={"labels": {"node-role.kubernetes.io/control-plane": "", "node-role.kubernetes.io/edge": ""}},
            status={
                "conditions": [READY],
                "addresses": [{"type": "InternalIP", "address": "192.168.1.10"}],
                "nodeInfo": {
                    "kubeletVersion": "v1.36.0+edgekube.1",
                    "osImage": "Debian GNU/Linux 12",
                    "kernelVersion": "6.18.0",
                    "containerRuntimeVersion": "containerd://1.6.20",
                },
            },
        ),
        made("pi-2", spec={"unschedulable": True}, status={"conditions": [{"type": "Ready", "status": "Unknown"}]}),
        made("pi-3", metadata={"labels": {"kubernetes.io/role": "gate"}}),
    ],
    ("v1", "PersistentVolume"): [
        made(
            "pv",
            spec={
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"namespace": "shop", "name": "data"},
                "storageClassName": "local",
                "volumeMode": "Filesystem",
            },
            status={"phase": "Bound"},
        ),
        made("going", metadata=DELETED, spec={}),
    ],
    ("v1", "PersistentVolumeClaim"): [
        made(
            "data",
            spec={"volumeName": "pv", "storageClassName": "local", "volumeMode": "Filesystem"},
            status={"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]},
        ),
        made(
            "waiting",
            spec={"resources": {"requests": {"storage": "2Gi"}}},
            status={"phase": "Pending"},
            metadata={"annotations": {"volume.beta.kubernetes.io/storage-class": "old"}},
        ),
    ],
    ("v1", "PodTemplate"): [made("web", template=template(("web", "web:1")))],
    ("v1", "ReplicationController"): [
        made(
            "web",
            spec={"replicas": 3, "selector": {"app": "web"}, "template": template(("web", "web:1"))},
            status={"replicas": 2, "readyReplicas": 1},
        ),
    ],
    ("v1", "ResourceQuota"): [
        made(
            "quota",
            status={
                "hard": {"requests.cpu": "2", "limits.cpu": "4", "pods": "10"},
                "used": {"requests.cpu": "500m", "pods": "3"},
            },
        ),
    ],
    ("v1", "Secret"): [made("token", type="Opaque", data={"a": "YQ=="})],
    ("v1", "ServiceAccount"): [made("default"), made("ci", secrets=[{"name": "a"}])],
    ("v1", "Service"): [
        made(
            "web",
            spec={
                "type": "ClusterIP",
                "clusterIP": "10.43.0.9",
                "clusterIPs": ["10.43.0.9"],
                "ports": [PORT],
                "selector": {"app": "web"},
            },
        ),
        made("headless", spec={"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"]}),
        made(
            "node",
            spec={
                "type": "NodePort",
                "clusterIPs": ["10.43.0.8"],
                "externalIPs": ["192.0.2.1"],
                "ports": [{**PORT, "nodePort": 30080}, {"port": 53, "protocol": "UDP"}],
            },
        ),
        made("pending", spec={"type": "LoadBalancer", "clusterIPs": ["10.43.0.7"], "ports": [PORT]}),
        made(
            "balanced",
            spec={"type": "LoadBalancer", "clusterIPs": ["10.43.0.6"], "ports": [PORT]},
            status={"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}, {"hostname": "lb.example.com"}]}},
        ),
        made("alias", spec={"type": "ExternalName", "externalName": "example.com"}),
    ],
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"): [made("hooks", webhooks=[{}, {}])],
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"): [made("hooks")],
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"): [
        made("policy", spec={"validations": [{}], "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}),
    ],
    ("admissionregistration.k8s.io/v1", "MutatingAdmissionPolicy"): [made("policy", spec={"mutations": [{}, {}]})],
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding"): [
        made("a", spec={"policyName": "policy", "paramRef": {"name": "p"}}),
        made("b", spec={"policyName": "policy", "paramRef": {"name": "p", "namespace": "shop"}}),
        made("c", spec={"policyName": "policy", "paramRef": {"selector": {"matchLabels": {"x": "y"}}}}),
    ],
    ("admissionregistration.k8s.io/v1", "MutatingAdmissionPolicyBinding"): [made("a", spec={"policyName": "policy"})],
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): [made("gadgets.example.com")],
    ("apiregistration.k8s.io/v1", "APIService"): [
        made("v1.apps", status={"conditions": [{"type": "Available", "status": "True"}]}),
        made(
            "v1.example.com",
            spec={"service": {"namespace": "shop", "name": "api"}},
            status={"conditions": [{"type": "Available", "status": "False", "reason": "MissingEndpoints"}]},
        ),
    ],
    ("apps/v1", "ControllerRevision"): [
        made(
            "web-1",
            revision=1,
            metadata={
                "ownerReferences": [
                    {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "u", "controller": True}
                ]
            },
        ),
    ],
    ("apps/v1", "DaemonSet"): [
        made(
            "agent",
            spec={**WORKLOAD, "template": template(("a", "a:1"), nodeSelector={"arch": "arm64", "board": "pi"})},
            status={
                "desiredNumberScheduled": 3,
                "currentNumberScheduled": 3,
                "numberReady": 2,
                "updatedNumberScheduled": 1,
                "numberAvailable": 2,
            },
        ),
    ],
    ("apps/v1", "Deployment"): [
        made("web", spec={"replicas": 3, **WORKLOAD}, status={"readyReplicas": 3, "updatedReplicas": 3, "availableReplicas": 2}),
        made(
            "new",
            spec={
                "replicas": 1,
                "selector": {
                    "matchExpressions": [{"key": "b", "operator": "In", "values": ["y", "x"]}],
                    "matchLabels": {"a": "1"},
                },
            },
        ),
    ],
    ("apps/v1", "ReplicaSet"): [made("web-1", spec={"replicas": 3, **WORKLOAD}, status={"replicas": 3, "readyReplicas": 1})],
    ("apps/v1", "StatefulSet"): [made("db", spec={"replicas": 2, **WORKLOAD}, status={"readyReplicas": 1})],
    ("autoscaling/v2", "HorizontalPodAutoscaler"): [
        made(
            "web",
            spec={
                "scaleTargetRef": {"kind": "Deployment", "name": "web"},
                "minReplicas": 2,
                "maxReplicas": 5,
                "metrics": [
                    {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}},
                    {"type": "ContainerResource", "containerResource": {"name": "memory", "target": {"averageValue": "64Mi"}}},
                    {"type": "Pods", "pods": {"target": {"averageValue": "5"}}},
                ],
            },
            status={
                "currentReplicas": 3,
                "currentMetrics": [{"type": "Resource", "resource": {"current": {"averageUtilization": 40}}}],
            },
        ),
        made(
            "queue",
            spec={
                "scaleTargetRef": {"kind": "Deployment", "name": "q"},
                "maxReplicas": 5,
                "metrics": [
                    {"type": "External", "external": {"target": {"averageValue": "10"}}},
                    {"type": "Object", "object": {"target": {"value": "7"}}},
                ],
            },
        ),
        made("bare", spec={"scaleTargetRef": {"kind": "Deployment", "name": "q"}, "maxReplicas": 1}),
    ],
    ("autoscaling/v1", "HorizontalPodAutoscaler"): [
        made(
            "web",
            spec={
                "scaleTargetRef": {"kind": "Deployment", "name": "web"},
                "maxReplicas": 5,
                "targetCPUUtilizationPercentage": 80,
            },
            status={"currentReplicas": 1, "currentCPUUtilizationPercentage": 12},
        ),
    ],
    ("batch/v1", "CronJob"): [
        made(
            "nightly",
            spec={
                "schedule": "0 3 * * *",
                "suspend": False,
                "timeZone": "Europe/Berlin",
                "jobTemplate": {"spec": {"template": template(("job", "job:1"))}},
            },
            status={"active": [{}], "lastScheduleTime": "2026-01-02T04:00:00Z"},
        ),
        made("never", spec={"schedule": "@yearly", "suspend": True}),
    ],
    ("batch/v1", "Job"): [
        made(
            "done",
            spec={"completions": 1, **WORKLOAD},
            status={
                "succeeded": 1,
                "startTime": MADE,
                "completionTime": "2026-01-02T03:05:09Z",
                "conditions": [{"type": "Complete", "status": "True"}],
            },
        ),
        made("queue", spec={"parallelism": 3}, status={"startTime": MADE}),
        made("failed", spec={"completions": 1}, status={"conditions": [{"type": "Failed", "status": "True"}]}),
        made("held", spec={"completions": 2}, status={"conditions": [{"type": "Suspended", "status": "True"}]}),
        made("going", metadata=DELETED, spec={"completions": 2}),
    ],
    ("certificates.k8s.io/v1", "CertificateSigningRequest"): [
        made(
            "a",
            spec={"signerName": "kubernetes.io/kubelet-serving", "username": "system:node:pi-1", "expirationSeconds": 86400},
            status={"certificate": "YQ==", "conditions": [{"type": "Approved", "status": "True"}]},
        ),
        made("b", spec={"username": "jane"}),
        made("c", status={"conditions": [{"type": "Denied"}, {"type": "Failed"}]}),
    ],
    ("coordination.k8s.io/v1", "Lease"): [made("pi-1", spec={"holderIdentity": "pi-1"})],
    ("discovery.k8s.io/v1", "EndpointSlice"): [
        made(
            "web-1",
            addressType="IPv4",
            ports=[{"port": 80}, {"name": "x"}, {}],
            endpoints=[{"addresses": [f"10.42.0.{i}"]} for i in range(5)],
        ),
        made("empty", addressType="IPv4"),
    ],
    ("events.k8s.io/v1", "Event"): [
        made(
            "web.1",
            regarding={"kind": "Pod", "name": "web"},
            type="Normal",
            reason="Started",
            note="Started",
            eventTime=MADE.replace("Z", ".000000Z"),
            reportingController="kubelet",
            deprecatedCount=2,
        ),
    ],
    ("flowcontrol.apiserver.k8s.io/v1", "FlowSchema"): [
        made(
            "exempt",
            spec={"priorityLevelConfiguration": {"name": "exempt"}, "matchingPrecedence": 1},
            status={"conditions": [{"type": "Dangling", "status": "False"}]},
        ),
    ],
    ("flowcontrol.apiserver.k8s.io/v1", "PriorityLevelConfiguration"): [
        made("exempt", spec={"type": "Exempt"}),
        made(
            "low",
            spec={
                "type": "Limited",
                "limited": {
                    "nominalConcurrencyShares": 100,
                    "limitResponse": {"queuing": {"queues": 128, "handSize": 6, "queueLengthLimit": 50}},
                },
            },
        ),
    ],
    ("networking.k8s.io/v1", "Ingress"): [
        made(
            "web",
            spec={"ingressClassName": "edge", "rules": [{"host": f"{c}.example.com"} for c in "abcde"], "tls": [{}]},
            status={"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}},
        ),
        made("any", spec={"rules": [{}]}),
    ],
    ("networking.k8s.io/v1", "IngressClass"): [
        made(
            "edge",
            spec={"controller": "example.com/edge", "parameters": {"apiGroup": "example.com", "kind": "Params", "name": "p"}},
        ),
    ],
    ("networking.k8s.io/v1", "IPAddress"): [
        made("10.43.0.1", spec={"parentRef": {"resource": "services", "namespace": "default", "name": "kubernetes"}}),
    ],
    ("networking.k8s.io/v1", "NetworkPolicy"): [
        made("web", spec={"podSelector": {"matchLabels": {"app": "web"}}}),
        made("all", spec={}),
    ],
    ("networking.k8s.io/v1", "ServiceCIDR"): [made("kubernetes", spec={"cidrs": ["10.43.0.0/16", "fd00::/108"]})],
    ("node.k8s.io/v1", "RuntimeClass"): [made("crun", handler="crun")],
    ("policy/v1", "PodDisruptionBudget"): [
        made("web", spec={"minAvailable": "50%"}, status={"disruptionsAllowed": 1}),
        made("db", spec={"maxUnavailable": 0}),
    ],
    ("rbac.authorization.k8s.io/v1", "ClusterRole"): [made("view")],
    ("rbac.authorization.k8s.io/v1", "Role"): [made("view")],
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): [
        made(
            "view",
            roleRef={"kind": "ClusterRole", "name": "view"},
            subjects=[
                {"kind": "User", "name": "jane"},
                {"kind": "User", "name": "joe"},
                {"kind": "Group", "name": "ops"},
                {"kind": "ServiceAccount", "namespace": "shop", "name": "ci"},
            ],
        ),
    ],
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): [made("admin", roleRef={"kind": "ClusterRole", "name": "admin"})],
    ("resource.k8s.io/v1", "DeviceClass"): [made("gpu")],
    ("resource.k8s.io/v1", "ResourceClaim"): [
        made("a"),
        made("b", status={"allocation": {}, "reservedFor": [{}]}),
        made("c", metadata=DELETED),
    ],
    ("resource.k8s.io/v1", "ResourceClaimTemplate"): [made("gpu")],
    ("resource.k8s.io/v1", "ResourceSlice"): [
        made("pi-1-gpu", spec={"nodeName": "pi-1", "driver": "gpu.example.com", "pool": {"name": "pi-1"}})
    ],
    ("scheduling.k8s.io/v1", "PriorityClass"): [made("high", value=1000, globalDefault=True, preemptionPolicy="Never")],
    ("storage.k8s.io/v1", "CSIDriver"): [
        made(
            "csi.example.com",
            spec={
                "attachRequired": False,
                "tokenRequests": [{"audience": "a"}],
                "volumeLifecycleModes": ["Persistent", "Ephemeral"],
            },
        ),
        made("other", spec={}),
    ],
    ("storage.k8s.io/v1", "CSINode"): [made("pi-1", spec={"drivers": [{}]})],
    ("storage.k8s.io/v1", "CSIStorageCapacity"): [made("c", storageClassName="local", capacity="1Gi")],
    ("storage.k8s.io/v1", "StorageClass"): [
        made(
            "local",
            provisioner="edgekube.io/local",
            metadata={"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            volumeBindingMode="WaitForFirstConsumer",
        ),
    ],
    ("storage.k8s.io/v1", "VolumeAttachment"): [
        made(
            "v",
            spec={"attacher": "csi.example.com", "nodeName": "pi-1", "source": {"persistentVolumeName": "pv"}},
            status={"attached": True},
        ),
    ],
    ("storage.k8s.io/v1", "VolumeAttributesClass"): [made("fast", driverName="csi.example.com")],
}
