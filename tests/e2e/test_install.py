"""install.sh on a bare machine: from nothing to a Ready node, once more as an upgrade, and back to nothing.

The machine has no internet: Python packages come from a directory, Debian's are on the disk (tests/run installed them).
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.booting import fresh_prefix
from tests.lab.cluster import Cluster, until
from tests.lab.lan import Lan
from tests.lab.machine import Machine, SystemdMachine
from tests.lab.node import Node
from tests.lab.shell import CommandFailed, run

_ROOT = Path(__file__).resolve().parents[2]
_CHECKOUT = "/srv/edgekube"
_WHEELS = "/srv/wheels"
#: The environment's wheels are of this interpreter's version; the machine's own may be another.
_PYTHON = str(Path(sys.base_prefix) / "bin" / "python3")
#: Compiling ahead is for slow boards; here it would only cost time.
_INSTALL = f"cd / && PIP_NO_COMPILE=1 EDGEKUBE_WHEELS={_WHEELS} PYTHON={_PYTHON} EDGEKUBE_WAIT_SECONDS=240 {_CHECKOUT}/install.sh"
#: Where an installation shows. The settings were there before it, and go with the data.
_TRACES = "ip -4 address; ip -4 route; nft list tables; ls /opt /usr/local/bin /etc /var/log | grep -vx edgekube"

_POD = """
import sys, trio
from edgekube.api.kinds import POD
from edgekube.api.objects import name_of
from edgekube.client.kubeconfig import load_kubeconfig
from edgekube.client.remote import RemoteVerbs

async def main():
    async with RemoteVerbs(load_kubeconfig("/etc/edgekube/kubeconfig.yaml")) as verbs:
        if sys.argv[1] == "create":
            container = {"name": "web", "image": "edgekube.local/demo:1"}
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {"containers": [container]}}
            await verbs.create(POD, "default", pod)
        import json
        print(json.dumps((await verbs.get(POD, "default", "web")).get("status") or {}))

trio.run(main)
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheels")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "-q"]
    # The environment that runs the tests has what the build needs.
    run([*pip, "--no-build-isolation", "-w", str(directory), str(_ROOT)], timeout_seconds=900)
    return directory


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a release has of this tree, without git."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "install.sh"):
        shutil.copy2(_ROOT / name, checkout)
    for name in ("edgekube", "build_hooks", "systemd"):
        shutil.copytree(_ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    return checkout


@pytest.fixture
def machine(tmp_path: Path, checkout: Path, wheels: Path) -> Iterator[Machine]:
    """Its PID 1 is a shell."""
    with Lan(fresh_prefix()) as lan:
        machine = Machine(lan, "bare", "192.0.2.61", tmp_path / "disk", {checkout: _CHECKOUT, wheels: _WHEELS})
        try:
            machine.power_on()
            machine.shell(f"mkdir -p /etc/edgekube && echo 'cgroup-parent: {machine.cgroup}' >/etc/edgekube/config.yaml")
            yield machine
        finally:
            machine.close()


@pytest.fixture
def systemd_machine(tmp_path: Path, checkout: Path, wheels: Path) -> Iterator[Machine]:
    """Its PID 1 is systemd."""
    if not Path("/lib/systemd/systemd").exists():
        pytest.skip("Debian's package systemd is not installed: nothing here can start a unit")
    with Lan(fresh_prefix()) as lan:
        machine = SystemdMachine(lan, "bare", "192.0.2.62", tmp_path / "disk", {checkout: _CHECKOUT, wheels: _WHEELS})
        try:
            machine.power_on()
            until(lambda: machine.shell("systemctl is-system-running", check=False).strip() in ("running", "degraded"))
            yield machine
        finally:
            machine.close()


def _install(machine: Machine) -> str:
    return machine.shell(_INSTALL, timeout_seconds=600)


def _status(machine: Machine) -> dict[str, Any]:
    status: dict[str, Any] = json.loads(machine.shell("edgekube status --json", check=False) or "{}")
    return status


def _pod(machine: Machine, verb: str) -> dict[str, Any]:
    status: dict[str, Any] = json.loads(machine.shell(f"/opt/edgekube/venv/bin/python -c '{_POD}' {verb}"))
    return status


def _running_since(machine: Machine) -> str:
    statuses = _pod(machine, "get").get("containerStatuses") or [{}]
    return str(((statuses[0].get("state") or {}).get("running") or {}).get("startedAt") or "")


@pytest.mark.root
def test_a_machine_becomes_a_node_is_upgraded_and_is_bare_again(machine: Machine) -> None:
    before = machine.shell(_TRACES)

    _what_is_in_the_way_is_named_and_nothing_is_started(machine)
    said = _install(machine)
    assert "this machine is a Ready node" in said
    assert f"cgroup-parent: {machine.cgroup}" in machine.shell("cat /etc/edgekube/config.yaml"), "settings are kept"
    status = _status(machine)
    assert status["ready"] and status["service"] == {"manager": "supervise", "running": True, "starts": 1}
    assert status["containerd"].startswith("containerd://") and min(status["certificateDays"].values()) > 300

    # A first pod, of an image that no registry has.
    assert "imported edgekube.local/demo:1" in machine.shell("edgekube image demo")
    assert "edgekube.local/demo:1" in machine.shell("edgekube image list")
    _pod(machine, "create")
    since = until(lambda: _running_since(machine))
    (shipped,) = machine.shell("readlink -e /var/log/containers/web_*.log").splitlines()
    assert shipped.startswith("/var/log/pods/default_web_"), "where log shippers look"

    # Once more is an upgrade: the server is another process, the container and its containerd are the same.
    server_pid = machine.shell("cat /run/edgekube-supervise.pid")
    said = _install(machine)
    assert "this machine is a Ready node" in said and "Debian packages are installed" in said
    assert machine.shell("cat /run/edgekube-supervise.pid") != server_pid
    assert _status(machine)["containerd"] == status["containerd"], "not even containerd was restarted"
    assert until(lambda: _running_since(machine)) == since

    # kill -9: the supervisor brings it back.
    server = machine.shell("ss -H -ltnp 'sport = :6443' | sed 's/.*pid=//; s/,.*//' | sort -u").strip()
    machine.shell(f"kill -9 {server}")
    until(lambda: _status(machine)["service"]["starts"] == 2)
    machine.shell("edgekube status --wait 120", timeout_seconds=180)
    assert _running_since(machine) == since

    _the_kubeconfig_works_elsewhere(machine)

    # And away with it.
    assert "removed 1 pod" in machine.shell("edgekube uninstall --yes", timeout_seconds=300)
    assert machine.shell(_TRACES) == before
    assert machine.shell("ls -A /var/lib/edgekube; ls -A /run | grep edgekube", check=False) == ""
    assert "/run/edgekube" not in machine.shell("cat /proc/mounts")
    assert machine.shell(f"ls -d /sys/fs/cgroup/*{machine.cgroup} /sys/fs/cgroup{machine.cgroup}", check=False) == ""
    assert set(machine.shell("ps -eo comm=").split()) <= {"sh", "sleep", "ps"}, "no process is left but the machine's own"


def _what_is_in_the_way_is_named_and_nothing_is_started(machine: Machine) -> None:
    machine.start(["/usr/bin/python3", "-m", "http.server", "6443"], machine.disk / "http.log")
    until(lambda: "6443" in machine.shell("ss -H -ltn"))
    with pytest.raises(CommandFailed) as failed:
        _install(machine)
    assert "port 6443 for the API is taken by python3" in str(failed.value)
    assert "https-port" in str(failed.value) and "run ./install.sh again" in str(failed.value)
    status = _status(machine)
    assert not status["ready"] and not status["service"]["running"]
    holder = machine.shell("ss -H -ltnp 'sport = :6443' | sed 's/.*pid=//; s/,.*//'").strip()
    machine.shell(f"kill {holder}; while ss -H -ltn | grep -q 6443; do sleep 0.1; done")


def _the_kubeconfig_works_elsewhere(machine: Machine) -> None:
    machine.shell("edgekube kubeconfig --server 192.0.2.61 --out /tmp/kubeconfig")
    assert machine.shell("stat -c %a /tmp/kubeconfig").strip() == "600"
    assert "server: https://192.0.2.61:6443" in machine.shell("cat /tmp/kubeconfig")
    script = _POD.replace("/etc/edgekube/kubeconfig.yaml", "/tmp/kubeconfig")
    assert json.loads(machine.shell(f"/opt/edgekube/venv/bin/python -c '{script}' get"))["phase"] == "Running"


@pytest.mark.root
def test_systemd_starts_it_again_and_spares_its_containers(systemd_machine: Machine) -> None:
    machine = systemd_machine
    assert "this machine is a Ready node" in _install(machine)
    assert machine.shell("systemctl is-enabled edgekube-server").strip() == "enabled"
    status = _status(machine)
    assert status["service"] == {"manager": "systemd", "running": True, "starts": 1}
    machine.shell("edgekube image demo")
    _pod(machine, "create")
    since = until(lambda: _running_since(machine))

    # Type=notify: "active" is told only when the node is Ready, so nothing has to be waited for after a restart.
    machine.shell("systemctl restart edgekube-server")
    assert _status(machine)["ready"] and _status(machine)["containerd"] == status["containerd"]

    machine.shell("kill -9 $(systemctl show -p MainPID --value edgekube-server)")
    until(lambda: _status(machine)["service"]["starts"] == 2)
    machine.shell("edgekube status --wait 120", timeout_seconds=180)

    # Stopping it stops no pod, and status says how to start it.
    machine.shell("systemctl stop edgekube-server")
    said = machine.shell("edgekube status", check=False)
    assert "stopped (systemd)" in said and "sudo systemctl start edgekube-server" in said
    assert "serve" in machine.shell("ps -eo args") and "containerd-shim" in machine.shell("ps -eo args")
    machine.shell("systemctl start edgekube-server")
    assert _running_since(machine) == since

    # Uninstalled with its data kept, and installed again: the same cluster, whose pod is started anew.
    assert "kept /var/lib/edgekube" in machine.shell("edgekube uninstall --yes --keep-data", timeout_seconds=300)
    assert "this machine is a Ready node" in _install(machine)
    until(lambda: _running_since(machine) > since)

    assert "stopped and removed the service" in machine.shell("edgekube uninstall --yes", timeout_seconds=300)
    traces = "systemctl list-units --all --no-legend 'edgekube*'; ls -d /opt/edgekube; ls -A /var/lib/edgekube"
    assert machine.shell(traces, check=False) == ""
    assert "containerd" not in machine.shell("ps -eo comm=") and "edgekube" not in machine.shell("ps -eo comm=")


@pytest.mark.root
def test_a_machine_becomes_a_node_of_a_cluster_elsewhere(machine: Machine, tmp_path: Path) -> None:
    before = machine.shell(_TRACES)
    node = Node(machine.lan, "srv", "192.0.2.63", tmp_path / "srv")
    server = Cluster(node)
    try:
        node.power_on()
        server.start()
        token = server.edgekube("token", "create", "--data-dir", str(server.data_dir)).split()[0]
        machine.shell(f"echo '{token}' >/run/token")
        as_agent = f"{_INSTALL} agent --server https://192.0.2.63:6443 --node-name elsewhere --token-file"
        for arguments, complaint in (
            ("--token", "can be read by everybody"),
            ("--bogus", "unknown argument"),
            ("agent --server", "needs a value"),
        ):
            with pytest.raises(CommandFailed, match=complaint):
                machine.shell(f"{_INSTALL} {arguments}")

        said = machine.shell(f"{as_agent} - </run/token", timeout_seconds=600)
        assert "this machine is a Ready node of its cluster" in said
        assert machine.shell("stat -c %a /etc/edgekube/token").strip() == "600"
        assert token not in machine.shell("cat /etc/edgekube/config.yaml /proc/[0-9]*/cmdline", check=False)
        status = _status(machine)
        assert status["ready"] and status["role"] == "agent" and status["api"]["url"] == "https://192.0.2.63:6443"
        assert status["service"] == {"manager": "supervise", "running": True, "starts": 1}
        assert status["node"]["name"] == "elsewhere" and min(status["certificateDays"].values()) > 300
        assert "elsewhere" in server.kubectl("get", "nodes", "-o", "name")

        with pytest.raises(CommandFailed, match="is an edgekube agent"):
            machine.shell(f"{_INSTALL} server")
        server.stop()
        said = machine.shell("edgekube status", check=False)
        assert "nobody answers at https://192.0.2.63:6443" in said and "running (background process)" in said
        said = machine.shell("edgekube uninstall --yes", timeout_seconds=300)
        assert "on the server: sudo edgekube node remove elsewhere" in said
        assert machine.shell(_TRACES) == before
        assert machine.shell("ls -A /var/lib/edgekube; ls -d /etc/edgekube; ls -A /run | grep edgekube", check=False) == ""
    finally:
        node.close()
