"""Two nodes, their pods and a machine outside, each a network namespace, IPv4 and IPv6; packets that really travel."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.lab.booting import fresh_prefix
from tests.lab.shell import run

HERE = Path(__file__).parent
NODES = {"n1": 1, "n2": 2}
OUTSIDE = ("198.51.100.9", "fd00:2::9")
DNS = "10.43.0.10"
#: How long nothing has to come through before it counts as refused; what is allowed is waited for much longer.
SILENCE_SECONDS = 0.4
PATIENCE_SECONDS = 20.0

Target = tuple[str, str, int]  # protocol, address, port


class Program:
    """A prober in a namespace."""

    def __init__(self, command: list[str], *ports: str) -> None:
        line = [*command, sys.executable, "-S", str(HERE / "prober.py"), *ports]
        self._process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        assert self._line() == "up\n"

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def ask(self, targets: list[Target], seconds: float = SILENCE_SECONDS) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([seconds, targets]) + "\n")

    def answer(self) -> list[int]:
        numbers: list[int] = json.loads(self._line())
        return numbers

    def reaches(self, targets: list[Target], seconds: float = SILENCE_SECONDS) -> list[Target]:
        self.ask(targets, seconds)
        return [targets[number] for number in self.answer()]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class Rig:
    def __init__(self) -> None:
        self.prefix = fresh_prefix()
        self._namespaces: list[str] = []
        self.programs: dict[str, Program] = {}

    def _namespace(self, name: str, **sysctls: int) -> None:
        namespace = f"{self.prefix}-{name}"
        run(["ip", "netns", "add", namespace])
        self._namespaces.append(namespace)
        run(["ip", "-n", namespace, "link", "set", "lo", "up"])
        # Addresses of IPv6 are used at once, without asking whether somebody else has them.
        settings = {"net.ipv6.conf.all.accept_dad": 0, "net.ipv6.conf.default.accept_dad": 0, "net.ipv4.ip_forward": 0}
        settings |= {name.replace("__", "."): value for name, value in sysctls.items()}
        self.inside(name, ["sysctl", "-q", "-w", *(f"{key}={value}" for key, value in settings.items())])

    def _cable(self, one: str, one_end: str, other: str, other_end: str) -> None:
        one, other = f"{self.prefix}-{one}", f"{self.prefix}-{other}"
        run(["ip", "-n", one, "link", "add", one_end, "type", "veth", "peer", "name", other_end, "netns", other])
        run(["ip", "-n", one, "link", "set", one_end, "up"])
        run(["ip", "-n", other, "link", "set", other_end, "up"])

    def ip(self, where: str, *lines: str) -> None:
        run(["ip", "-n", f"{self.prefix}-{where}", "-batch", "-"], stdin="\n".join(lines) + "\n")

    def command(self, where: str, command: list[str]) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{self.prefix}-{where}", *command]

    def inside(self, where: str, command: list[str], stdin: str | None = None) -> str:
        return run(self.command(where, command), stdin=stdin)

    def build(self, pods: list[dict[str, Any]]) -> None:
        forwarding = {"net__ipv4__ip_forward": 1, "net__ipv6__conf__all__forwarding": 1}
        for node in NODES:
            self._namespace(node, **forwarding)
        self._namespace("out")
        self._cable("n1", "eth0", "n2", "eth0")
        self._cable("n1", "eth1", "out", "eth0")
        self.ip("n1", "address add 192.0.2.1/24 dev eth0", "address add fd00:1::1/64 dev eth0 nodad",
                "address add 198.51.100.1/24 dev eth1", "address add fd00:2::1/64 dev eth1 nodad",
                "route add 10.42.2.0/24 via 192.0.2.2", "route add fd42:2::/64 via fd00:1::2")  # fmt: skip
        self.ip("n2", "address add 192.0.2.2/24 dev eth0", "address add fd00:1::2/64 dev eth0 nodad",
                "route add default via 192.0.2.1", "route add default via fd00:1::1")  # fmt: skip
        self.ip("out", f"address add {OUTSIDE[0]}/24 dev eth0", f"address add {OUTSIDE[1]}/64 dev eth0 nodad",
                "route add default via 198.51.100.1", "route add default via fd00:2::1")  # fmt: skip
        for node in NODES:
            self.ip(node, f"address add {DNS}/32 dev lo")
        for pod in pods:
            self._pod(pod)
        self._program("out", "tcp:80", "tcp:81", "udp:80")
        for node in NODES:
            self._program(node, f"udp:53@{DNS}", "tcp:9000")

    def _pod(self, pod: dict[str, Any]) -> None:
        """As the ptp plugin does it: a route for its address on the node's side, the gateway by link on the pod's."""
        name, node = pod_id(pod), pod["nodeName"]
        four, six = pod["podIPs"]
        number = NODES[node]
        self._namespace(name)
        self._cable(node, f"veth{name}", name, "eth0")
        self.ip(node, f"address add 10.42.{number}.1/32 dev veth{name}", f"address add fd42:{number}::1/128 dev veth{name} nodad",
                f"route add {four}/32 dev veth{name}", f"route add {six}/128 dev veth{name}")  # fmt: skip
        self.ip(name, f"address add {four}/32 dev eth0", f"address add {six}/128 dev eth0 nodad",
                f"route add 10.42.{number}.1 dev eth0", f"route add default via 10.42.{number}.1",
                f"route add fd42:{number}::1 dev eth0", f"route add default via fd42:{number}::1")  # fmt: skip
        self._program(name, "tcp:80", "tcp:81", "udp:80", "udp:81")

    def _program(self, where: str, *ports: str) -> None:
        self.programs[where] = Program(self.command(where, []), *ports)

    def nft(self, where: str, script: str) -> None:
        self.inside(where, ["nft", "-f", "-"], stdin=script)

    def mismatches(self, expected: dict[tuple[str, Target], bool]) -> list[tuple[str, Target, bool]]:
        """What came through though it must not, or never came through though it may."""
        wrong: list[tuple[str, Target, bool]] = []
        deadline = time.monotonic() + PATIENCE_SECONDS
        first = True
        left = dict(expected)
        while left and (first or time.monotonic() < deadline):
            by_source: dict[str, list[Target]] = {}
            for source, target in left:
                by_source.setdefault(source, []).append(target)
            for source, targets in by_source.items():
                self.programs[source].ask(targets, SILENCE_SECONDS if first else 2.0)
            for source, targets in by_source.items():
                reached = self.programs[source].answer()
                for number, target in enumerate(targets):
                    allowed = left[source, target]
                    if number in reached or not allowed:
                        del left[source, target]
                    if number in reached and not allowed:
                        wrong.append((source, target, allowed))
            first = False
        return wrong + [(source, target, allowed) for (source, target), allowed in left.items()]

    def close(self) -> None:
        for program in self.programs.values():
            program.close()
        for namespace in self._namespaces:
            run(["ip", "netns", "delete", namespace], check=False)


def pod_id(pod: dict[str, Any]) -> str:
    metadata = pod["metadata"]
    return f"{metadata['namespace']}{metadata['name']}"
