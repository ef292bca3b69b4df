"""The pages about Services, configuration and autoscaling, command by command; small programs stand for nginx, Redis and PHP.

Source: kubernetes.io/docs: tutorials/services (connect applications; pods and endpoints that terminate), tutorials/configuration
(updating by ConfigMap, Redis), tutorials/stateless-application (guestbook, expose an external address),
tasks/run-application/horizontal-pod-autoscale-walkthrough.
"""

from __future__ import annotations

from tests.e2e.namespace import BUSYBOX, Namespace
from tests.lab.cluster import until

DEMO = "edgekube.local/demo:1"


def deployment(name: str, image: str, replicas: int, pod: str) -> str:
    return f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, labels: {{run: {name}}}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{run: {name}}}}}
  template:
    metadata: {{labels: {{run: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 0
      {pod.replace("IMAGE", image)}
"""


WEB = "containers: [{name: web, image: IMAGE, ports: [{containerPort: 8080}]}]"
CURL = f"""
apiVersion: v1
kind: Pod
metadata: {{name: curl}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{{name: c, image: "{BUSYBOX}", command: [sleep, infinity]}}]
"""


def rolled_out(ns: Namespace, name: str) -> None:
    ns.kubectl("rollout", "status", f"deployment/{name}", "--timeout=300s", timeout_seconds=310)


def test_connecting_applications_with_services(ns: Namespace) -> None:
    ns.apply(deployment("my-nginx", DEMO, 2, WEB))
    rolled_out(ns, "my-nginx")
    assert ns.kubectl("expose", "deployment/my-nginx", "--port=80", "--target-port=8080") == "service/my-nginx exposed\n"
    addresses = sorted(ns.field("pods", ".items[*].status.podIP").split())
    assert "run=my-nginx" in ns.kubectl("describe", "svc", "my-nginx")
    slices = "endpointslices"
    until(lambda: sorted(ns.field(slices, ".items[0].endpoints[*].addresses[0]").split()) == addresses, seconds=240)
    ns.apply(CURL)
    ns.ready("pod/curl", seconds=240)
    assert "MY_NGINX_SERVICE_HOST=" in ns.sh("curl", "env"), "the Service was there before the pod"
    cluster_ip = ns.field("svc/my-nginx", ".spec.clusterIP")
    assert cluster_ip in ns.sh("curl", f"nslookup my-nginx.{ns.name}.svc.cluster.local || true")
    assert ns.wget("curl", "http://my-nginx/").startswith("Hello from my-nginx-")
    ns.kubectl("expose", "deployment/my-nginx", "--name=outside", "--type=NodePort", "--port=80", "--target-port=8080")
    port, node = ns.field("svc/outside", ".spec.ports[0].nodePort"), ns.field("nodes", ".items[0].status.addresses[0].address")
    assert ns.wget("curl", f"http://{node}:{port}/").startswith("Hello from my-nginx-")
    ns.kubectl("expose", "deployment/my-nginx", "--name=my-service", "--type=LoadBalancer", "--port=8080")
    ns.wait("jsonpath={.status.loadBalancer.ingress[0].ip}", "svc/my-service", seconds=240)
    ns.kubectl("scale", "deployment", "my-nginx", "--replicas=0")
    until(lambda: ns.field(slices, ".items[0].endpoints") in ("", "null", "[]"), seconds=240)


TERMINATING = f"""containers:
      - name: nginx
        image: "{DEMO}"
        ports: [{{containerPort: 8080}}]
        lifecycle: {{preStop: {{exec: {{command: [/bin/sh, -c, "sleep 20"]}}}}}}"""


def test_pods_and_their_endpoints_while_they_terminate(ns: Namespace) -> None:
    manifest = deployment("nginx-deployment", DEMO, 1, TERMINATING)
    ns.apply(manifest.replace("terminationGracePeriodSeconds: 0", "terminationGracePeriodSeconds: 120"))
    ns.kubectl("create", "service", "clusterip", "nginx-service", "--tcp=80:8080")
    ns.kubectl("set", "selector", "svc/nginx-service", "run=nginx-deployment")
    rolled_out(ns, "nginx-deployment")
    conditions = ".items[0].endpoints[0].conditions"
    until(lambda: ns.field("endpointslices", conditions) == '{"ready":true,"serving":true,"terminating":false}', seconds=240)
    ns.kubectl("scale", "deployment", "nginx-deployment", "--replicas=0")
    until(lambda: ns.field("endpointslices", conditions) == '{"ready":false,"serving":true,"terminating":true}', seconds=30)
    assert "Terminating" in ns.kubectl("get", "pods", "--no-headers")


CONFIGURED = f"""containers:
      - name: alpine
        image: "{BUSYBOX}"
        command: [/bin/sh, -c, "while true; do echo Sport is $(cat /etc/config/sport), fruits: $FRUITS; sleep 1; done"]
        env: [{{name: FRUITS, valueFrom: {{configMapKeyRef: {{name: fruits, key: fruits}}}}}}]
        volumeMounts: [{{name: config-volume, mountPath: /etc/config}}]
      volumes: [{{name: config-volume, configMap: {{name: sport}}}}]"""


def test_updating_configuration_via_a_config_map(ns: Namespace) -> None:
    ns.kubectl("create", "configmap", "sport", "--from-literal=sport=football")
    ns.kubectl("create", "configmap", "fruits", "--from-literal=fruits=apples")
    ns.apply(deployment("configmap-volume", BUSYBOX, 1, CONFIGURED))
    rolled_out(ns, "configmap-volume")

    def says(text: str) -> bool:
        return text in ns.kubectl("logs", "deployments/configmap-volume", "--tail=1")

    until(lambda: says("Sport is football, fruits: apples"), seconds=240)
    ns.kubectl("patch", "configmap", "sport", "-p", '{"data":{"sport":"cricket"}}')
    ns.kubectl("patch", "configmap", "fruits", "-p", '{"data":{"fruits":"mangoes"}}')
    until(lambda: says("Sport is cricket, fruits: apples"), seconds=240)
    ns.kubectl("rollout", "restart", "deployment", "configmap-volume")
    rolled_out(ns, "configmap-volume")
    until(lambda: says("Sport is cricket, fruits: mangoes"), seconds=240)
    ns.kubectl("patch", "configmap", "fruits", "-p", '{"immutable":true}')
    refused = ns.refused("patch", "configmap", "fruits", "-p", '{"data":{"fruits":"figs"}}')
    assert "field is immutable when `immutable` is set" in refused


#: Shows what each tier says, asked anew every second.
FRONTEND = f"""containers:
      - name: php-redis
        image: "{BUSYBOX}"
        command:
        - sh
        - -c
        - |
          mkdir /www
          while :; do
            for each in leader follower; do wget -q -O /www/$each http://redis-$each:6379/; done
            sleep 1
          done &
          exec httpd -f -p 80 -h /www
        readinessProbe: {{httpGet: {{path: /follower, port: 80}}, periodSeconds: 1}}"""


def test_a_guestbook_of_three_tiers(ns: Namespace) -> None:
    """Leader, followers and a frontend that finds them by name."""
    ns.apply(deployment("redis-leader", DEMO, 1, WEB))
    ns.apply(deployment("redis-follower", DEMO, 2, WEB))
    ns.kubectl("expose", "deployment/redis-leader", "--port=6379", "--target-port=8080")
    ns.kubectl("expose", "deployment/redis-follower", "--port=6379", "--target-port=8080")
    ns.apply(deployment("frontend", BUSYBOX, 3, FRONTEND))
    ns.kubectl("expose", "deployment/frontend", "--port=80")
    for name in ("redis-leader", "redis-follower", "frontend"):
        rolled_out(ns, name)
    ns.apply(CURL)
    ns.ready("pod/curl", seconds=240)
    for tier in ("leader", "follower"):
        assert ns.wget("curl", f"http://frontend/{tier}").startswith(f"Hello from redis-{tier}-")
    ns.kubectl("scale", "deployment", "frontend", "--replicas=5")
    rolled_out(ns, "frontend")
    ns.kubectl("scale", "deployment", "frontend", "--replicas=2")
    until(lambda: len(ns.get("pods", "-l", "run=frontend")["items"]) == 2, seconds=240)


#: A page that costs some CPU.
PHP = f"""containers:
      - name: php-apache
        image: "{BUSYBOX}"
        command:
        - sh
        - -c
        - |
          mkdir -p /www/cgi-bin
          cat > /www/cgi-bin/index <<'END'
          #!/bin/sh
          i=0
          while [ $i -lt 20000 ]; do i=$((i+1)); done
          printf '\\nOK!\\n'
          END
          chmod +x /www/cgi-bin/index
          exec httpd -f -p 80 -h /www
        resources: {{limits: {{cpu: 100m}}, requests: {{cpu: 40m}}}}"""
LOAD = f"""containers:
      - name: load
        image: "{BUSYBOX}"
        command: [sh, -c, "while sleep 0.01; do wget -q -O- http://php-apache/cgi-bin/index; done"]"""


def test_the_walkthrough_of_the_autoscaler(ns: Namespace) -> None:
    ns.apply(deployment("php-apache", BUSYBOX, 1, PHP))
    ns.kubectl("expose", "deployment/php-apache", "--port=80")
    rolled_out(ns, "php-apache")
    ns.kubectl("autoscale", "deployment", "php-apache", "--cpu-percent=50", "--min=1", "--max=3")
    quick = '{"spec":{"behavior":{"scaleDown":{"stabilizationWindowSeconds":1}}}}'
    ns.kubectl("patch", "hpa", "php-apache", "-p", quick)

    def row() -> list[str]:
        return ns.kubectl("get", "hpa", "php-apache", "--no-headers").split()

    until(lambda: row()[2:4] == ["cpu:", "0%/50%"], seconds=240)
    assert row()[4:7] == ["1", "3", "1"]
    ns.apply(deployment("load-generator", BUSYBOX, 1, LOAD))
    until(lambda: int(row()[6]) > 1, seconds=180)
    rolled_out(ns, "php-apache")
    assert "New size:" in ns.wait_for_event("php-apache", "SuccessfulRescale", seconds=240)
    ns.kubectl("delete", "deployment", "load-generator")
    until(lambda: row()[6] == "1", seconds=240)
    conditions = {each["type"]: (each["status"], each["reason"]) for each in ns.get("hpa", "php-apache")["status"]["conditions"]}
    assert conditions["AbleToScale"][0] == "True"
    assert conditions["ScalingActive"] == ("True", "ValidMetricFound")
