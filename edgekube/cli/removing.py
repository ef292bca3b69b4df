"""The steps of ``edgekube uninstall``, in the order in which each needs the next to be still there.

Enters: Settings. Leaves: what could not be removed, in words.
Holds: processes are found by our pid files, our sockets and our cgroups, never by a name; nothing outside our directories,
our nft tables, routes and addresses is changed.
Next: none.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import trio

from edgekube.agent import cgroups, log_places
from edgekube.agent.cgroups import Cgroups
from edgekube.agent.kubelet_dir import withdraw
from edgekube.agent.shutdown.groups import DROP_IN
from edgekube.agent.volumes import mounts
from edgekube.agent.volumes.removal import remove_tree
from edgekube.api.cluster_facts import facts_from
from edgekube.cli import installation
from edgekube.cli.gathering import server_on
from edgekube.containerd.cri import CriRuntime, connect
from edgekube.containerd.host import RuntimeUnavailable
from edgekube.containerd.model import RuntimeFailure
from edgekube.containerd.processes import processes
from edgekube.containerd.shims import shims_of
from edgekube.containerd.supervisor import Supervisor, instance_of
from edgekube.daemon.node_files import Membership, NodeFiles
from edgekube.network import addresses, cni, nft, routes
from edgekube.network.policies.table import TABLE as POLICIES_TABLE
from edgekube.network.ruleset import TABLES
from edgekube.settings import ADMIN_KUBECONFIG, CONFIG_FILE, Settings

Say = Callable[[str], None]

#: What a container gets between SIGTERM and SIGKILL.
_GRACE_SECONDS: Final = 10
#: A board with a slow card and many pods; after that the rest is killed.
_PODS_SECONDS: Final = 120.0


class StillRunning(Exception):
    """A server runs that is no service of ours; the text says how to end it."""


def remove(settings: Settings, *, keep_data: bool, say: Say) -> list[str]:
    """Raises StillRunning before anything of the node is touched."""
    left: list[str] = []
    _stop_service(say)
    pid = server_on(settings)
    if pid:
        raise StillRunning(f"edgekube runs outside of a service (pid {pid}): stop it first, sudo kill {pid}")
    pod_cidrs = _pod_cidrs(settings)
    member = NodeFiles(settings.agent_dir).load()
    trio.run(_remove_pods, settings, say)
    if not settings.containerd_address:
        _end_shims(settings)
    _remove_network(_of_cluster(settings), pod_cidrs, say)
    left += _remove_cgroups(settings, say)
    left += _remove_mounts(settings, say)
    left += _remove_files(settings, keep_data=keep_data, say=say)
    _tell_packages(say)
    _tell_cluster(member, keep_data=keep_data, say=say)
    _remove_program(say)
    return left


def _stop_service(say: Say) -> None:
    match installation.service().manager:
        case "systemd":
            unit = installation.unit()
            _run(["systemctl", "disable", "--now", unit.name])
            unit.unlink(missing_ok=True)
            _run(["systemctl", "daemon-reload"])
            _run(["systemctl", "reset-failed", unit.name])
            say("stopped and removed the service")
        case "supervise":
            _run([str(installation.SUPERVISE), "stop"])
            say("stopped the background process")


async def _remove_pods(settings: Settings, say: Say) -> None:
    """Through containerd, so that addresses, mounts and network namespaces go in order."""
    if settings.containerd_address:
        await _end_pods(settings.containerd_address, settings, say)
        return
    if not settings.containerd_root.exists():
        return
    supervisor = Supervisor(instance_of(settings))
    try:
        await supervisor.start()
        await _end_pods(str(supervisor.instance.address), settings, say)
    except (RuntimeUnavailable, RuntimeFailure, OSError) as error:
        say(f"containerd is of no help, ending its containers without it: {str(error).splitlines()[0]}")
    await supervisor.stop()
    say("stopped containerd")


async def _end_pods(address: str, settings: Settings, say: Say) -> None:
    async with connect(address) as runtime:
        sandboxes = await runtime.list_sandboxes()
        if settings.containerd_address:
            # Somebody else's containerd: only pods that this node's agent has a directory for.
            sandboxes = [sandbox for sandbox in sandboxes if (settings.agent_dir / "pods" / sandbox.uid).is_dir()]
        ids = {sandbox.id for sandbox in sandboxes}
        containers = [container for container in await runtime.list_containers() if container.sandbox_id in ids]
        with trio.move_on_after(_PODS_SECONDS):
            async with trio.open_nursery() as nursery:
                for container in containers:
                    if container.state == "RUNNING":
                        nursery.start_soon(_stop_container, runtime, container.id)
            async with trio.open_nursery() as nursery:
                for sandbox_id in ids:
                    nursery.start_soon(_remove_sandbox, runtime, sandbox_id)
        if ids:
            say(f"removed {len(ids)} pod{'' if len(ids) == 1 else 's'}")


async def _stop_container(runtime: CriRuntime, container_id: str) -> None:
    try:
        await runtime.stop_container(container_id, _GRACE_SECONDS)
    except RuntimeFailure:
        pass  # the sandbox's end kills it


async def _remove_sandbox(runtime: CriRuntime, sandbox_id: str) -> None:
    try:
        await runtime.stop_sandbox(sandbox_id)
        await runtime.remove_sandbox(sandbox_id)
    except RuntimeFailure:
        pass  # its shim and its cgroup are ended below


def _end_shims(settings: Settings) -> None:
    """Shims that were started for our socket and did not end with their container; then what ran below them."""
    for shim in shims_of(settings.containerd_state, processes()):
        try:
            os.kill(shim.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def _pod_cidrs(settings: Settings) -> tuple[str, ...]:
    """What the node told CNI; without that what a first node would have got."""
    return cni.configured(settings.cni_conf_dir) or (str(next(settings.cluster_networks[0].subnets(new_prefix=24))),)


def _of_cluster(settings: Settings) -> Settings:
    """With the ranges of the cluster that this machine is an agent of, if it is one."""
    import orjson

    try:
        facts = facts_from(orjson.loads((settings.agent_dir / "cluster.json").read_bytes()))
        return replace(settings, service_cidr=facts.service_cidr, cluster_dns=facts.cluster_dns, cluster_cidr=facts.cluster_cidr)
    except (OSError, ValueError, TypeError, AttributeError):
        return settings


def _remove_network(settings: Settings, pod_cidrs: tuple[str, ...], say: Say) -> None:
    for table in (*TABLES.values(), POLICIES_TABLE):
        nft.remove_table(table)
    routes.forget()
    addresses.forget_loopback_routing()
    addresses.batch(
        addresses.removal_commands(
            pod_cidrs=pod_cidrs,
            service_cidrs=[str(network) for network in settings.service_networks],
            cluster_dns=settings.cluster_dns_addresses,
        )
    )
    say("removed packet filter tables, addresses and routes")


def _remove_cgroups(settings: Settings, say: Say) -> list[str]:
    try:
        # On a host with cgroup v1, runc also makes one in the unified hierarchy that stands beside it.
        for root in (cgroups.ROOT, cgroups.ROOT / "unified"):
            if root.is_dir():
                Cgroups(settings.cgroup_parent, root).remove(settings.cgroup_parent)
    except OSError as error:
        return [f"cgroup {settings.cgroup_parent}: {error.strerror}"]
    say(f"removed cgroup {settings.cgroup_parent}")
    return []


def _remove_mounts(settings: Settings, say: Say) -> list[str]:
    left = []
    _remove_logind_bound()
    for root in (settings.data_dir, settings.run_dir):
        # The directory itself may be a disk of its own that the operator mounted.
        for point in mounts.mounted_under(root):
            if point == root.resolve():
                continue
            try:
                mounts.unmount(point)
            except OSError as error:
                left.append(f"mount {point}: {error.strerror}")
    return left


def _remove_files(settings: Settings, *, keep_data: bool, say: Say) -> list[str]:
    left = _remove_tree(settings.run_dir)
    withdraw(settings.kubelet_directory, settings.agent_dir)
    for path in (installation.SUPERVISE_PID, installation.SUPERVISE_STARTS, installation.SUPERVISE_LOCK):
        path.unlink(missing_ok=True)
    if keep_data:
        # Leases of pods that are gone; the pods themselves come back with other addresses.
        left += _remove_tree(settings.data_dir / "cni")
        left += _remove_tree(settings.agent_dir / "pods")
        ADMIN_KUBECONFIG.unlink(missing_ok=True)
        say(f"kept {settings.data_dir} and {CONFIG_FILE}")
        return left
    left += log_places.withdraw(settings)
    for directory in (settings.data_dir, installation.CONFIG_DIR, installation.LOG_DIR):
        left += _remove_tree(directory)
    say(f"removed {settings.data_dir}, {installation.CONFIG_DIR} and {installation.LOG_DIR}")
    return left


def _remove_logind_bound() -> None:
    """As long as the machine runs it would wait longer for others' locks; the next boot forgets it anyhow."""
    DROP_IN.unlink(missing_ok=True)


def _remove_tree(directory: Path) -> list[str]:
    """Never through a mount point: what is still mounted is not ours to empty."""
    points = [point for point in mounts.mounted_under(directory) if point != directory.resolve()]
    if points:
        return [f"{directory}: {points[0]} is still mounted"]
    if not directory.is_dir():
        return []
    failed: list[str] = []
    for entry in list(directory.iterdir()):  # what cannot be removed does not keep its neighbours
        try:
            if entry.is_dir() and not entry.is_symlink():
                remove_tree(entry)
            else:
                entry.unlink(missing_ok=True)
        except FileNotFoundError:
            pass
        except OSError as error:
            failed.append(f"{entry}: {error}")
    if not failed and not directory.is_mount():
        directory.rmdir()
    return failed[:5]


def _tell_cluster(member: Membership | None, *, keep_data: bool, say: Say) -> None:
    if member is not None and not keep_data:
        say(f"its cluster still knows it; on the server: sudo edgekube node remove {member.node_name}")


def _tell_packages(say: Say) -> None:
    try:
        packages = installation.RECORD.read_text().split()
    except OSError:
        return
    if packages:
        say("Debian packages that install.sh added stay; to remove them: sudo apt-get autoremove " + " ".join(packages))


def _remove_program(say: Say) -> None:
    """Last, because this program runs from there."""
    if installation.LINK.is_symlink() and installation.PREFIX in Path(os.readlink(installation.LINK)).parents:
        installation.LINK.unlink()
    if installation.RECORD.exists():
        shutil.rmtree(installation.PREFIX, ignore_errors=True)
        say(f"removed {installation.LINK} and {installation.PREFIX}")


def _run(command: list[str]) -> None:
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
