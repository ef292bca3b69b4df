"""After the plug was pulled, sandboxes are there as NOTREADY and hold their addresses until they are stopped and removed."""

from __future__ import annotations

import os
import secrets
import signal
from contextlib import suppress
from pathlib import Path

import orjson
import pytest
import trio
from msgspec.structs import replace

from edgekube.containerd.cri import connect
from edgekube.containerd.model import Namespaces, Security
from edgekube.containerd.supervisor import supervise
from tests.containerd.conformance import Pods
from tests.containerd.conftest import Place
from tests.containerd.test_supervisor import pid_of

pytestmark = pytest.mark.root


def give_a_pod_network(place: Place) -> Path:
    """ptp and host-local in a range of this test's own, without masquerading, so that nothing is left once pods are removed."""
    leases = place.settings.data_dir / "cni" / "leases"
    name = f"ektest{secrets.token_hex(3)}"
    subnet = f"10.213.{secrets.randbelow(256)}.0/29"
    plugin = {
        "type": "ptp",
        "ipMasq": False,
        "mtu": 1500,
        "ipam": {"type": "host-local", "dataDir": str(leases), "ranges": [[{"subnet": subnet}]]},
    }
    place.settings.cni_conf_dir.mkdir(parents=True)
    conf = {"cniVersion": "0.4.0", "name": name, "plugins": [plugin]}
    (place.settings.cni_conf_dir / "10-test.conflist").write_bytes(orjson.dumps(conf))
    return leases / name


def power_off(place: Place) -> None:
    """Kill containerd, then each shim with everything below it, and only of this test's instance."""
    os.kill(pid_of(place), signal.SIGKILL)
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(place.address).encode() in (process / "cmdline").read_bytes().split(b"\0"):
                children = (process / "task" / process.name / "children").read_text().split()
                for pid in (process.name, *children):
                    os.kill(int(pid), signal.SIGKILL)


def addresses(leases: Path) -> set[str]:
    return {path.name for path in leases.glob("10.*")}


async def test_sandboxes_of_before_are_found_and_give_their_addresses_back(own_place: Place, tmp_path: Path) -> None:
    leases = give_a_pod_network(own_place)
    async with supervise(own_place.settings) as address, connect(address) as runtime:
        pods = Pods(runtime, own_place.cgroup, tmp_path / "logs")
        config = replace(pods.sandbox_config(), hostname="web", security=Security(namespaces=Namespaces(network="POD")))
        assert (await runtime.conditions())["NetworkReady"] == (True, "")
        sandbox = await runtime.run_sandbox(config)
        [ip] = (await runtime.sandbox_status(sandbox)).ips
        assert addresses(leases) == {ip}
        await trio.to_thread.run_sync(power_off, own_place)
    async with supervise(own_place.settings) as address, connect(address) as runtime:
        with trio.fail_after(60):
            while [row.state for row in await runtime.list_sandboxes()] != ["NOTREADY"]:  # noqa: ASYNC110
                await trio.sleep(0.02)
        assert addresses(leases) == {ip}
        await runtime.stop_sandbox(sandbox)
        await runtime.remove_sandbox(sandbox)
        assert await runtime.list_sandboxes() == []
        assert addresses(leases) == set()
