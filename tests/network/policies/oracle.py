"""What the documentation of NetworkPolicy says, sentence by sentence, with no thought of speed.

Source: kubernetes.io, "Network Policies".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Object = dict[str, Any]


@dataclass
class World:
    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)
    pods: list[Object] = field(default_factory=list)  # as the projection tells them
    policies: list[Object] = field(default_factory=list)
    dns: str = "10.43.0.10"

    def pod_at(self, address: str) -> Object | None:
        """The cluster's DNS counts as a pod of kube-system."""
        if address == self.dns:
            ports = [{"name": "dns", "protocol": "UDP", "containerPort": 53}]
            ports += [{"name": name, "protocol": "TCP", "containerPort": n} for name, n in (("dns-tcp", 53), ("metrics", 9153))]
            metadata = {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}}
            return {"metadata": metadata, "nodeName": "", "ports": ports, "podIPs": [address]}
        for pod in self.pods:
            alive = pod.get("phase") not in ("Succeeded", "Failed") and not pod.get("hostNetwork")
            if alive and address in pod.get("podIPs", ()):
                return pod
        return None

    def allows(self, source: str, destination: str, protocol: str = "tcp", port: int = 0) -> bool:
        """A connection from one address to another, of which at least one is a pod's."""
        if source == destination:
            return True  # "a Pod cannot block access to itself"
        return self._direction("Egress", source, destination, destination, protocol, port) and self._direction(
            "Ingress", destination, source, destination, protocol, port
        )

    def _direction(self, way: str, isolated: str, peer: str, destination: str, protocol: str, port: int) -> bool:
        pod = self.pod_at(isolated)
        if pod is None or isolated == self.dns:
            return True
        applying = [policy for policy in self.policies if self._applies(policy, way, pod)]
        if not applying:
            return True
        rules = [(policy, rule) for policy in applying for rule in policy["spec"].get(way.lower()) or ()]
        key = "from" if way == "Ingress" else "to"
        return any(
            (not rule.get(key) or any(self._peer(policy, each, peer) for each in rule[key]))
            and (not rule.get("ports") or any(self._port(each, destination, protocol, port) for each in rule["ports"]))
            for policy, rule in rules
        )

    def _applies(self, policy: Object, way: str, pod: Object) -> bool:
        spec = policy["spec"]
        types = spec.get("policyTypes") or (["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])
        if way not in types or policy["metadata"]["namespace"] != pod["metadata"]["namespace"]:
            return False
        return _selects(spec.get("podSelector") or {}, pod["metadata"].get("labels") or {})

    def _peer(self, policy: Object, peer: Object, address: str) -> bool:
        if block := peer.get("ipBlock"):
            at = ip_address(address)
            return at in ip_network(block["cidr"]) and not any(at in ip_network(e) for e in block.get("except") or ())
        pod = self.pod_at(address)
        if pod is None:
            return False
        namespace = pod["metadata"]["namespace"]
        if "namespaceSelector" in peer:
            if namespace not in self.namespaces or not _selects(peer["namespaceSelector"], self.namespaces[namespace]):
                return False
        elif namespace != policy["metadata"]["namespace"]:
            return False
        return _selects(peer.get("podSelector") or {}, pod["metadata"].get("labels") or {})

    def _port(self, wanted: Object, destination: str, protocol: str, port: int) -> bool:
        if (wanted.get("protocol") or "TCP").lower() != protocol:
            return False
        number = wanted.get("port")
        if number is None:
            return True
        if isinstance(number, int):
            return number <= port <= (wanted.get("endPort") or number)
        pod = self.pod_at(destination)
        return pod is not None and any(
            (named["name"], named.get("protocol", "TCP").lower(), named["containerPort"]) == (number, protocol, port)
            for named in pod.get("ports") or ()
        )


def _selects(selector: Object, labels: dict[str, str]) -> bool:
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for expression in selector.get("matchExpressions") or ():
        key, has = expression["key"], expression["key"] in labels
        match expression["operator"]:
            case "In":
                fine = has and labels[key] in expression["values"]
            case "NotIn":
                fine = not has or labels[key] not in expression["values"]
            case "Exists":
                fine = has
            case _:
                fine = not has
        if not fine:
            return False
    return True
