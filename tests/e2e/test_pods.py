"""One pod's life on the node: start, probes, hooks, restarts, ends, limits, identity, images."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from tests.e2e.namespace import Namespace
from tests.lab.cluster import until


def test_init_containers_run_in_order_and_sidecars_stay(ns: Namespace) -> None:
    ns.apply("""
        apiVersion: v1
        kind: Pod
        metadata: {name: p}
        spec:
          terminationGracePeriodSeconds: 1
          volumes: [{name: v, emptyDir: {}}]
          initContainers:
            - name: first
              image: busybox:1.36
              command: [sh, -c, 'sleep 0.5; echo first >> /v/log']
              volumeMounts: [{name: v, mountPath: /v}]
            - name: sidecar
              image: busybox:1.36
              restartPolicy: Always
              command: [sh, -c, 'echo sidecar >> /v/log; trap "exit 0" TERM; sleep 1000 & wait']
              startupProbe: {exec: {command: [test, -e, /v/up]}, periodSeconds: 1}
              volumeMounts: [{name: v, mountPath: /v}]
            - name: second
              image: busybox:1.36
              command: [sh, -c, 'echo second >> /v/log']
              volumeMounts: [{name: v, mountPath: /v}]
          containers:
            - name: main
              image: busybox:1.36
              command: [sh, -c, 'echo main >> /v/log; trap "exit 0" TERM; sleep 1000 & wait']
              volumeMounts: [{name: v, mountPath: /v}]
    """)
    with ns.running("get", "pod", "p", "-w", "--no-headers") as watch:
        watch.expect("Init:1/3")  # the first may be through before anybody hears of it; the sidecar waits to be told
        ns.wait("jsonpath={.status.initContainerStatuses[1].state.running.startedAt}", "pod/p")
        ns.exec("p", "touch", "/v/up", container="sidecar")
        watch.expect("2/2")
    assert ns.exec("p", "cat", "/v/log").split() == ["first", "sidecar", "second", "main"]
    states = {status["name"]: status for status in ns.get("pod", "p")["status"]["initContainerStatuses"]}
    assert states["first"]["state"]["terminated"]["reason"] == "Completed"
    assert states["sidecar"]["state"]["running"]
    assert states["sidecar"]["started"] is True


def test_restart_policies_and_how_pods_end(ns: Namespace) -> None:
    for name, policy, script in (
        ("succeeds", "Never", "exit 0"),
        ("fails", "Never", "echo why > /dev/termination-log; exit 3"),
        ("once", "OnFailure", "exit 0"),
        ("again", "OnFailure", "test -e /v/was && exit 0; touch /v/was; exit 1"),
        ("loops", "Always", "exit 1"),
        ("tells", "Never", "echo last words; exit 1"),
    ):
        ns.apply(f"""
            apiVersion: v1
            kind: Pod
            metadata: {{name: {name}}}
            spec:
              restartPolicy: {policy}
              volumes: [{{name: v, emptyDir: {{}}}}]
              containers:
                - name: main
                  image: busybox:1.36
                  terminationMessagePolicy: FallbackToLogsOnError
                  command: [sh, -c, "{script}"]
                  volumeMounts: [{{name: v, mountPath: /v}}]
        """)
    ns.wait("jsonpath={.status.phase}=Succeeded", "pod/succeeds", "pod/once", "pod/again")
    ns.wait("jsonpath={.status.phase}=Failed", "pod/fails", "pod/tells")

    fails = ns.get("pod", "fails")["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (fails["reason"], fails["exitCode"], fails["message"]) == ("Error", 3, "why\n")
    tells = ns.get("pod", "tells")["status"]["containerStatuses"][0]["state"]["terminated"]
    assert tells["message"] == "last words\n"
    assert ns.field("pod/again", ".status.containerStatuses[0].restartCount") == "1"
    assert ns.field("pod/once", ".status.containerStatuses[0].restartCount") == "0"

    ns.wait("jsonpath={.status.containerStatuses[0].state.waiting.reason}=CrashLoopBackOff", "pod/loops")
    assert ns.wait_for_event("loops", "BackOff").startswith("Back-off restarting failed container main in pod loops_")

    def shown() -> dict[str, str]:
        return {line.split()[0]: line.split()[2] for line in ns.kubectl("get", "pods", "--no-headers").splitlines()}

    until(lambda: shown()["loops"] in ("CrashLoopBackOff", "Error"))  # and for a moment it runs, now and then
    assert {name: words for name, words in shown().items() if name != "loops"} == {
        "succeeds": "Completed", "fails": "Error", "once": "Completed", "again": "Completed", "tells": "Error",
    }  # fmt: skip


def test_probes_of_all_four_kinds(ns: Namespace) -> None:
    """Ready while the probe says so; restarted when liveness fails; held back until startup succeeds."""
    ns.apply("""
        apiVersion: v1
        kind: Pod
        metadata: {name: exec, labels: {app: ready}}
        spec:
          terminationGracePeriodSeconds: 0
          containers:
            - name: main
              image: busybox:1.36
              command: [sleep, '1000']
              readinessProbe: {exec: {command: [test, -e, /tmp/ready]}, periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 1}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: ready}
        spec: {selector: {app: ready}, ports: [{port: 80}]}
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: http}
        spec:
          terminationGracePeriodSeconds: 0
          containers:
            - name: main
              image: edgekube.local/demo:1
              startupProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 90}
              livenessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 1}
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: tcp}
        spec:
          terminationGracePeriodSeconds: 0
          containers:
            - name: main
              image: busybox:1.36
              command: [sh, -c, 'sleep 2; exec httpd -f -p 7000']
              startupProbe: {tcpSocket: {port: 7000}, periodSeconds: 1, failureThreshold: 90}
              livenessProbe:
                {exec: {command: [test, '!', -e, /tmp/dead]}, periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 1}
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: grpc}
        spec:
          terminationGracePeriodSeconds: 0
          containers:
            - name: main
              image: edgekube.local/demo:1
              readinessProbe: {grpc: {port: 8080}, periodSeconds: 1}
    """)
    # exec, readiness: the Service follows.
    ns.wait("jsonpath={.status.phase}=Running", "pod/exec", "pod/tcp", "pod/http", "pod/grpc")
    assert ns.field("pod/exec", ".status.conditions[?(@.type=='Ready')].status") == "False"
    ready = ".endpoints[0].conditions.ready"
    slices = until(lambda: ns.get("endpointslices", "-l", "kubernetes.io/service-name=ready")["items"])
    ns.wait(f"jsonpath={{{ready}}}=false", f"endpointslice/{slices[0]['metadata']['name']}")
    ns.exec("exec", "touch", "/tmp/ready")
    ns.ready("pod/exec")
    ns.wait(f"jsonpath={{{ready}}}=true", f"endpointslice/{slices[0]['metadata']['name']}")
    ns.exec("exec", "rm", "/tmp/ready")
    ns.wait("condition=Ready=false", "pod/exec")
    assert ns.wait_for_event("exec", "Unhealthy").startswith("Readiness probe failed:")

    # http, liveness: the container is started again.
    def restarts(pod: str) -> int:
        return int(ns.field(f"pod/{pod}", ".status.containerStatuses[0].restartCount"))

    ns.ready("pod/http")
    before = restarts("http")
    ns.exec("http", "rm", "/www/healthz")
    until(lambda: restarts("http") > before)
    # A busy machine may have asked before anything listened (startup): that is another event.
    missing = ("Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 404")
    until(lambda: missing in ns.events_of("http"))
    assert "Container main failed liveness probe, will be restarted" in ns.wait_for_event("http", "Killing")

    # tcp, startup: not ready before it listens, and then liveness has its say.
    ns.ready("pod/tcp")
    before = restarts("tcp")
    ns.exec("tcp", "touch", "/tmp/dead")
    until(lambda: restarts("tcp") > before)

    # grpc: a web server does not speak it.
    assert "Readiness probe failed" in ns.wait_for_event("grpc", "Unhealthy")
    assert ns.field("pod/grpc", ".status.conditions[?(@.type=='Ready')].status") == "False"


def test_hooks_and_the_grace_period(ns: Namespace, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    ns.apply(f"""
        apiVersion: v1
        kind: Pod
        metadata: {{name: polite}}
        spec:
          terminationGracePeriodSeconds: 20
          volumes: [{{name: out, hostPath: {{path: {tmp_path}}}}}]
          containers:
            - name: main
              image: busybox:1.36
              command: [sh, -c, 'trap "echo term >> /out/log; exit 0" TERM; while :; do sleep 0.1; done']
              volumeMounts: [{{name: out, mountPath: /out}}]
              lifecycle:
                postStart: {{exec: {{command: [sh, -c, 'echo started >> /out/log']}}}}
                preStop: {{exec: {{command: [sh, -c, 'sleep 1; echo stopping >> /out/log']}}}}
        ---
        apiVersion: v1
        kind: Pod
        metadata: {{name: stubborn}}
        spec:
          terminationGracePeriodSeconds: 2
          containers:
            - {{name: main, image: 'busybox:1.36', command: [sleep, '1000']}}
    """)
    ns.ready("pod/polite", "pod/stubborn")
    with ns.running("get", "pods", "-w", "--no-headers") as watch:
        watch.expect("Running")
        ns.kubectl("delete", "pod", "polite", "stubborn", "--wait=false")
        watch.expect("Terminating")
        ns.kubectl("wait", "--for=delete", "pod/polite", "pod/stubborn", "--timeout=90s")
    assert (tmp_path / "log").read_text().split() == ["started", "stopping", "term"]
    assert "Stopping container main" in ns.wait_for_event("polite", "Killing")


def test_limits_become_cgroup_settings_and_too_much_memory_is_oomkilled(ns: Namespace) -> None:
    ns.apply("""
        apiVersion: v1
        kind: Pod
        metadata: {name: limited}
        spec:
          terminationGracePeriodSeconds: 0
          containers:
            - name: main
              image: busybox:1.36
              command: [sleep, '1000']
              resources: {requests: {cpu: 100m, memory: 16Mi}, limits: {cpu: 250m, memory: 64Mi}}
              env:
                - name: CPUS
                  valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}
                - name: MEMORY
                  valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: guaranteed}
        spec:
          terminationGracePeriodSeconds: 0
          containers:
            - name: main
              image: busybox:1.36
              command: [sleep, '1000']
              resources: {limits: {cpu: 100m, memory: 16Mi}}
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: greedy}
        spec:
          restartPolicy: Never
          containers:
            - name: main
              image: busybox:1.36
              command: [sh, -c, 'dd if=/dev/zero of=/dev/null bs=200M count=1']
              resources: {limits: {memory: 32Mi}}
    """)
    ns.ready("pod/limited", "pod/guaranteed")
    assert ns.sh("limited", "echo $CPUS $MEMORY") == "250 64\n"
    pid = _pid_of(ns, "limited")
    assert _cgroup_value(pid, "memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    quota = _cgroup_value(pid, "cpu", "cpu.cfs_quota_us", "cpu.max")
    assert quota in ("25000", "25000 100000")
    assert [ns.field(f"pod/{name}", ".status.qosClass") for name in ("limited", "guaranteed")] == ["Burstable", "Guaranteed"]
    ns.wait("jsonpath={.status.phase}=Failed", "pod/greedy")
    ended = ns.get("pod", "greedy")["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)
    assert "OOMKilled" in ns.kubectl("get", "pod", "greedy", "--no-headers")


def _pid_of(ns: Namespace, pod: str) -> int:
    """The process id, on this machine, of a single-container pod's main process."""
    uid = ns.field(f"pod/{pod}", ".metadata.uid")
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if uid in (process / "cgroup").read_text() and (process / "comm").read_text().strip() == "sleep":
                return int(process.name)
        except OSError:
            continue
    raise AssertionError(f"no process of pod {pod} in sight")


def _cgroup_value(pid: int, controller: str, v1_file: str, v2_file: str) -> str:
    """A setting of the process's cgroup, on either version of cgroups."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return Path(f"/sys/fs/cgroup/{controller}{path}/{v1_file}").read_text().strip()
    path = Path(f"/proc/{pid}/cgroup").read_text().strip().rpartition(":")[2]
    return Path(f"/sys/fs/cgroup{path}/{v2_file}").read_text().strip()


def test_environment_and_downward_api(ns: Namespace) -> None:
    ns.kubectl("create", "configmap", "settings", "--from-literal=A=1", "--from-literal=not-a-name=2")
    ns.kubectl("create", "secret", "generic", "keys", "--from-literal=KEY=s3cret")
    ns.apply("""
        apiVersion: v1
        kind: Pod
        metadata: {name: p, labels: {tier: back}, annotations: {note: hello}}
        spec:
          terminationGracePeriodSeconds: 0
          hostname: myhost
          subdomain: mysub
          containers:
            - name: main
              image: busybox:1.36
              command: [sh, -c, 'exec sleep 1000', $(FIRST)]
              envFrom:
                - configMapRef: {name: settings}
                - secretRef: {name: keys}
                  prefix: S_
                - configMapRef: {name: none, optional: true}
              env:
                - {name: FIRST, value: one}
                - {name: SECOND, value: $(FIRST)-two-$(UNKNOWN)-$$(FIRST)}
                - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
                - {name: NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
                - {name: TIER, valueFrom: {fieldRef: {fieldPath: "metadata.labels['tier']"}}}
                - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
                - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
                - {name: HOST_IP, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}
                - {name: ACCOUNT, valueFrom: {fieldRef: {fieldPath: spec.serviceAccountName}}}
                - {name: MAYBE, valueFrom: {secretKeyRef: {name: none, key: none, optional: true}}}
    """)
    ns.ready("pod/p")
    environment = dict(line.split("=", 1) for line in ns.exec("p", "env").splitlines())
    expected = {
        "A": "1", "S_KEY": "s3cret", "FIRST": "one", "SECOND": "one-two-$(UNKNOWN)-$(FIRST)", "NAME": "p",
        "NAMESPACE": ns.name, "TIER": "back", "NODE": "n1", "POD_IP": ns.field("pod/p", ".status.podIP"),
        "HOST_IP": "192.0.2.1", "ACCOUNT": "default", "KUBERNETES_SERVICE_HOST": "10.43.0.1", "KUBERNETES_SERVICE_PORT": "443",
        "HOSTNAME": "myhost",
    }  # fmt: skip
    assert {name: environment.get(name) for name in expected} == expected
    assert "MAYBE" not in environment
    assert ns.exec("p", "hostname") == "myhost\n"
    hosts = ns.exec("p", "cat", "/etc/hosts")
    assert f"myhost.mysub.{ns.name}.svc.cluster.local\tmyhost" in hosts
    resolv = ns.exec("p", "cat", "/etc/resolv.conf").splitlines()
    assert "nameserver 10.43.0.10" in resolv
    assert f"search {ns.name}.svc.cluster.local svc.cluster.local cluster.local" in resolv
    assert "options ndots:5" in resolv


def test_security_context(ns: Namespace) -> None:
    ns.apply("""
        apiVersion: v1
        kind: Pod
        metadata: {name: p}
        spec:
          terminationGracePeriodSeconds: 0
          securityContext:
            runAsUser: 1000
            runAsGroup: 2000
            fsGroup: 3000
            supplementalGroups: [4000]
            sysctls: [{name: net.ipv4.ping_group_range, value: 0 65535}]
          volumes: [{name: v, emptyDir: {}}]
          containers:
            - name: main
              image: busybox:1.36
              command: [sleep, '1000']
              volumeMounts: [{name: v, mountPath: /v}]
              securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: root}
        spec:
          containers:
            - {name: main, image: 'busybox:1.36', securityContext: {runAsNonRoot: true}}
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: near}
        spec:
          terminationGracePeriodSeconds: 0
          hostNetwork: true
          hostPID: true
          containers:
            - {name: main, image: 'busybox:1.36', command: [sleep, '1000'], securityContext: {privileged: true}}
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: together}
        spec:
          terminationGracePeriodSeconds: 0
          shareProcessNamespace: true
          containers:
            - {name: one, image: 'busybox:1.36', command: [sleep, '1111']}
            - {name: two, image: 'busybox:1.36', command: [sleep, '2222']}
    """)
    ns.ready("pod/p", "pod/near", "pod/together")
    identity = ns.exec("p", "id").strip()
    assert identity.startswith("uid=1000 gid=2000")
    assert {"3000", "4000"} <= set(re.findall(r"\d+", identity.partition("groups=")[2]))
    assert "Read-only file system" in ns.refused("exec", "p", "--", "touch", "/x")
    assert ns.sh("p", "touch /v/x; stat -c %g /v/x") == "3000\n"
    status = ns.exec("p", "cat", "/proc/1/status")
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert ns.exec("p", "cat", "/proc/sys/net/ipv4/ping_group_range").split() == ["0", "65535"]
    ns.wait("jsonpath={.status.containerStatuses[0].state.waiting.reason}=CreateContainerConfigError", "pod/root")
    assert "image will run as root" in ns.field("pod/root", ".status.containerStatuses[0].state.waiting.message")
    assert ns.field("pod/near", ".status.podIP") == "192.0.2.1"
    assert "edgekube" in ns.exec("near", "ps", "-o", "args")
    assert "sleep 2222" in ns.exec("together", "ps", container="one")


def test_image_pull_policies(ns: Namespace) -> None:
    ns.apply("""
        apiVersion: v1
        kind: Pod
        metadata: {name: absent}
        spec: {containers: [{name: main, image: 'registry.invalid/nothing:1'}]}
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: never}
        spec: {containers: [{name: main, image: 'registry.invalid/nothing:1', imagePullPolicy: Never}]}
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: badly}
        spec: {containers: [{name: main, image: 'Not A Name'}]}
    """)
    reason = "jsonpath={.status.containerStatuses[0].state.waiting.reason}"
    ns.wait(f"{reason}=ErrImageNeverPull", "pod/never")
    ns.wait(f"{reason}=InvalidImageName", "pod/badly")
    ns.wait(f"{reason}=ImagePullBackOff", "pod/absent")
    ns.wait_for_event("absent", "BackOff")
    assert {"Scheduled", "Pulling", "Failed", "BackOff"} <= {reason for reason, _ in ns.events_of("absent")}


def test_node_and_pod_facts_in_the_status(ns: Namespace) -> None:
    ns.kubectl("run", "p", "--image=busybox:1.36", "--", "sleep", "1000")
    ns.ready("pod/p")
    status = ns.get("pod", "p")["status"]
    assert {condition["type"]: condition["status"] for condition in status["conditions"]} == dict.fromkeys(
        ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"), "True"
    )
    container = status["containerStatuses"][0]
    assert container["containerID"].startswith("containerd://")
    assert container["image"] == "docker.io/library/busybox:1.36"
    assert container["imageID"].startswith(("sha256:", "docker.io/library/busybox@sha256:"))
    assert status["podIPs"] == [{"ip": status["podIP"]}]
    assert status["hostIP"] == "192.0.2.1"
    assert status["startTime"]


def test_a_container_that_is_killed_from_outside_starts_again(ns: Namespace) -> None:
    ns.kubectl("run", "p", "--image=busybox:1.36", "--", "sleep", "1000")
    ns.ready("pod/p")
    os.kill(_pid_of(ns, "p"), signal.SIGKILL)
    ns.wait("jsonpath={.status.containerStatuses[0].restartCount}=1", "pod/p")
    ns.ready("pod/p")
    assert ns.field("pod/p", ".status.containerStatuses[0].lastState.terminated.exitCode") == "137"
