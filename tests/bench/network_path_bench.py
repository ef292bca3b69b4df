"""What the way between pods costs, part by part: the router between, the tunnel, the packet filter. Prints JSON.

    sudo .venv/bin/python -m tests.bench.network_path_bench [--rounds 3] [--load-seconds 1.5]

Network namespaces only, no cluster. Everything shares this machine's cores, so each round measures all variants one after the
other, beside a floor of its own; what counts is the median of the rounds' ratios. ``arrived_by_sent`` is exact: packets at the
receiving node's cable for each one at the sender's.

``router``: a node to a node, and a pod to a pod (VXLAN), across the same router, which is one of
    bridged  its ports are bridges. A bridge cuts large packets that are encapsulated and no others: this measures the bridge
    routed   its ports are plain veth: large packets cross it whole, encapsulated or not
    wire     its ports cut everything into packets of the MTU, as a wire between two machines would have it
``tunnel``: a pod to a pod across the ``routed`` one, when the tunnel's own UDP packets are tracked as connections, and when not;
    with the entries of the sender's connection table after the same number of connections.
``segment``: a pod to a pod by a plain route, with the policies' table (its guard sees every packet), and without.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Callable
from typing import Any, Final

import trio

from edgekube.network import node_rules
from edgekube.network.policies import table as policies
from tests.bench.nodes_bench import bare_veth, load
from tests.lab.shell import run
from tests.network.fabric import SEGMENTS, Fabric, Node

#: The ends of the path, and the segments that they are on.
_ENDS: Final = {"a": 1, "c": 2}
_GUARDED: Final = policies.frame((4, 6), {})
_Figures = dict[str, Any]


class Path:
    def __init__(self, fabric: Fabric, seconds: float) -> None:
        self.fabric = fabric
        self.seconds = seconds
        self.a, self.b, self.c = fabric.nodes.values()

    def measure(self, source: str, target: str, address: str) -> _Figures:
        places = [f"/run/netns/{self.fabric.namespace(where)}" for where in (source, target)]
        return load(places[0], places[1], address, self.seconds)

    def pods(self, source: Node, target: Node) -> _Figures:
        return self.measure(f"{source.name}-pod", f"{target.name}-pod", target.pod)

    # --- the router

    def ports(self, *, bridged: bool) -> None:
        for name, segment in _ENDS.items():
            plug, bridge = f"to-{name}", f"seg{segment}"
            self._router("link", "set", plug, *(["master", bridge] if bridged else ["nomaster"]))
            self._router("address", "flush", "dev", plug if bridged else bridge)
            self._router("address", "replace", f"{SEGMENTS[segment]}.254/24", "dev", bridge if bridged else plug)
            # The gateway has another MAC now.
            self.fabric.nodes[name].run("ip", "neighbour", "flush", "dev", "eth0")

    def cut(self, *, cut: bool) -> None:
        for name in _ENDS:
            self._router("link", "set", f"to-{name}", "gso_max_segs", "1" if cut else "65535")

    def _router(self, *words: str) -> None:
        self.fabric.run("router", "ip", *words)

    def across(self) -> _Figures:
        node, node_pieces = self._counted(lambda: self.measure("a", "c", self.c.address))
        pod, pod_pieces = self._counted(lambda: self.pods(self.a, self.c))
        pieces = {"node_to_node": node_pieces, "pod_to_pod": pod_pieces}
        return {"node_to_node": node, "pod_to_pod": pod, "pod_by_node": _ratio(pod, node), "arrived_by_sent": pieces}

    def _counted(self, measure: Callable[[], _Figures]) -> tuple[_Figures, float]:
        """And into how many pieces each packet was cut on its way."""
        sent, arrived = self.a.packets("tx"), self.c.packets("rx")
        figures = measure()
        return figures, round((self.c.packets("rx") - arrived) / (self.a.packets("tx") - sent), 1)

    # --- the packet filter

    def tracking(self, *, tracked: bool) -> None:
        for node in (self.a, self.c):
            members = [member for each in node.known if each is not node for member in each.member().addresses]
            self._nft(node, node_rules.table(members, node.wishes().cluster))
            for chain in ("arriving", "leaving") if tracked else ():
                node.run("nft", "flush", "chain", *node_rules.TABLE.split(), chain)

    def guarded(self, *, guarded: bool) -> None:
        table = policies.TABLE
        for node in (self.a, self.b):
            self._nft(node, _GUARDED if guarded else f"add table {table}\ndelete table {table}")

    def _nft(self, node: Node, script: str) -> None:
        run(node.command(["nft", "-f", "-"]), stdin=script)

    def tunnelled(self) -> _Figures:
        run(self.a.command(["conntrack", "-F"]))
        figures = self.pods(self.a, self.c)
        return {**figures, "connections_remembered": int(self.a.run("cat", "/proc/sys/net/netfilter/nf_conntrack_count"))}


def _ratio(one: _Figures, other: _Figures, what: str = "gbit_per_second") -> float:
    return round(float(one[what] / other[what]), 2)


def _pair(first: Callable[[], _Figures], second: Callable[[], _Figures], names: tuple[str, str]) -> _Figures:
    one, other = first(), second()
    ratios = {f"{names[1]}_by_{names[0]}_{what}": _ratio(other, one, what) for what in one}
    return {names[0]: one, names[1]: other, **ratios}


def one_round(path: Path) -> _Figures:
    floor = bare_veth(path.seconds)
    router: _Figures = {}
    for name, bridged, cut in (("bridged", True, False), ("routed", False, False), ("wire", False, True)):
        path.ports(bridged=bridged)
        path.cut(cut=cut)
        router[name] = path.across()
    path.cut(cut=False)

    def tunnel(tracked: bool) -> _Figures:
        path.tracking(tracked=tracked)
        return path.tunnelled()

    def segment(guarded: bool) -> _Figures:
        path.guarded(guarded=guarded)
        return path.pods(path.a, path.b)

    tunnels = _pair(lambda: tunnel(True), lambda: tunnel(False), ("tracked", "untracked"))
    path.ports(bridged=True)
    segments = _pair(lambda: segment(False), lambda: segment(True), ("unguarded", "guarded"))
    path.guarded(guarded=False)
    return {"floor_bare_veth": floor, "router": router, "tunnel": tunnels, "segment": segments}


def medians(rounds: list[Any]) -> Any:
    """Of each figure, over the rounds."""
    if isinstance(rounds[0], dict):
        return {key: medians([each[key] for each in rounds]) for key in rounds[0]}
    return round(statistics.median(rounds), 2)


async def _settle(fabric: Fabric) -> None:
    for node in fabric.nodes.values():
        node.known = list(fabric.nodes.values())
    for node in fabric.nodes.values():
        if not await node.routes.apply():
            raise RuntimeError(f"no routes on {node.name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--load-seconds", type=float, default=1.5)
    options = parser.parse_args()
    fabric = Fabric()
    try:
        fabric.build()
        trio.run(_settle, fabric)
        path = Path(fabric, options.load_seconds)
        rounds = [one_round(path) for _ in range(options.rounds)]
    finally:
        fabric.close()
    kinds = {kind: [each["router"][kind]["pod_by_node"] for each in rounds] for kind in rounds[0]["router"]}
    print(json.dumps({"cores": os.cpu_count(), "pod_by_node": kinds, "medians": medians(rounds)}, indent=2))


if __name__ == "__main__":
    main()
