"""Ask everything that tells how the cluster on this machine is; nothing of it needs the rest to work.

Enters: Settings. Leaves: Survey.
Holds: answers within a few seconds, whoever hangs; changes nothing.
Next: cli.status.
"""

from __future__ import annotations

import datetime
import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any, Final

import trio
from msgspec import Struct, field

from edgekube.api.errors import StatusError
from edgekube.api.kinds import NODE, POD
from edgekube.api.objects import Object
from edgekube.api.verbs import ListOptions
from edgekube.cli import installation
from edgekube.cli.gathering import existing_parent
from edgekube.cli.installation import Service
from edgekube.client.doors import address_of
from edgekube.client.kubeconfig import KubeconfigError, load_kubeconfig
from edgekube.client.remote import RemoteVerbs
from edgekube.client.target import Target
from edgekube.containerd.cri import connect
from edgekube.containerd.model import RuntimeFailure
from edgekube.daemon.node_files import NodeFiles
from edgekube.pki.certificates import SERVER_NAME
from edgekube.settings import Settings
from edgekube.wire.client import HttpClient, ProtocolError
from edgekube.wire.protocol import BodyTooLarge, Disconnected
from edgekube.wire.tls import client_context

_ANSWER_SECONDS: Final = 5.0
_ANSWER_BYTES_MAX: Final = 64 * 1024
_ERRORS_SHOWN: Final = 5
#: Of text and JSON logs, and the last words of a server that could not start (cli.explain), of click or of Python.
_ERROR_LINE: Final = r"^\S+Z (ERROR|WARNING) |\"level\": ?\"(ERROR|WARNING)\"|^edgekube: |^(\w|\.)*Error: "
_NO_ANSWER: Final = (OSError, Disconnected, ProtocolError, BodyTooLarge)


class Survey(Struct):
    service: Service
    node_name: str
    agent: bool
    api_url: str
    #: "server" or "agent": is the API on this machine?
    role: str = "server"
    api_version: str = ""
    api_ready: bool = False
    #: Why the API is not ready, in words.
    api_problem: str = ""
    #: None: no such Node, or nobody to ask.
    node_ready: bool | None = None
    node_message: str = ""
    #: Phase -> count, of the pods on this node. None: not known.
    pods: dict[str, int] | None = None
    #: "containerd://1.6.20 (pid 812)"; "" when it does not answer.
    containerd: str = ""
    data_dir: str = ""
    data_bytes: int = 0
    data_free_bytes: int = 0
    #: File name -> days until it ends.
    certificate_days: dict[str, int] = field(default_factory=dict)
    last_errors: list[str] = field(default_factory=list)

    @property
    def ready(self) -> bool:
        return self.api_ready and (self.node_ready is True or not self.agent)

    def step(self) -> str:
        """How far a start has come."""
        if self.ready:
            return "the node is Ready" if self.agent else "the API is ready"
        if not self.api_ready:
            return f"waiting for the API: {self.api_problem}"
        if self.node_ready is None:
            return f"the API is ready; waiting for node {self.node_name}"
        return f"the node is not Ready: {self.node_message}"

    def as_object(self) -> dict[str, Any]:
        return {
            "ready": self.ready,
            "role": self.role,
            "service": self.service.as_object(),
            "api": {
                "url": self.api_url,
                "version": self.api_version,
                "ready": self.api_ready,
                "problem": self.api_problem,
            },
            "node": {"name": self.node_name, "ready": self.node_ready, "message": self.node_message},
            "pods": self.pods,
            "containerd": self.containerd,
            "data": {"dir": self.data_dir, "bytes": self.data_bytes, "freeBytes": self.data_free_bytes},
            "certificateDays": self.certificate_days,
            "lastErrors": self.last_errors,
        }


def survey(settings: Settings, *, sizes: bool = True) -> Survey:
    """``sizes`` False leaves out what has to walk over the whole data directory."""
    role = installation.role()
    pki = settings.pki_dir if role == "server" else settings.agent_pki_dir
    found = Survey(
        service=installation.service(),
        node_name=settings.node_name,
        agent=settings.agent or role == "agent",
        role=role,
        api_url=f"https://127.0.0.1:{settings.https_port}" if role == "server" else "",
        data_dir=str(settings.data_dir),
        data_bytes=_used_bytes(settings.data_dir) if sizes else 0,
        data_free_bytes=_free_bytes(existing_parent(settings.data_dir)),
        certificate_days=certificate_days(pki, datetime.datetime.now(datetime.UTC)),
    )
    trio.run(_ask, settings, found)
    if not found.ready:
        found.last_errors = installation.log_tail(_ERRORS_SHOWN, _ERROR_LINE)
    return found


async def _ask(settings: Settings, found: Survey) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_ask_api, settings, found)
        if found.agent:
            nursery.start_soon(_ask_containerd, settings, found)


def _target_of_admin(settings: Settings, found: Survey) -> Target | None:
    path = settings.admin_kubeconfig if settings.admin_kubeconfig.exists() else settings.kubeconfig
    try:
        return load_kubeconfig(path)
    except KubeconfigError as error:
        hint = "run it with sudo" if isinstance(error.__cause__, PermissionError) else "the server has not started here yet"
        found.api_problem = f"{error} ({hint})"
    return None


def _target_of_agent(settings: Settings, found: Survey) -> Target | None:
    """The server, as this node speaks with it. None before it has joined, with how far that is."""
    files = NodeFiles(settings.agent_dir)
    if not os.access(files.key.parent, os.X_OK) and files.key.parent.exists():
        found.api_problem = f"{files.key.parent} cannot be read (run it with sudo)"
        return None
    member = files.load()
    if member is None:
        found.api_problem = _how_far_joining_is(settings)
        return None
    found.node_name = member.node_name
    servers = (*files.last_servers(), *member.facts.servers)
    if not servers:
        found.api_problem = "no server's address is known"
        return None
    found.api_url = servers[0]
    context = client_context(ca_path=files.authorities, cert_path=files.client_certificate, key_path=files.key)
    address = address_of(servers[0])
    return Target(lambda: address, lambda: context, SERVER_NAME)


def _how_far_joining_is(settings: Settings) -> str:
    try:
        code, node_name = (settings.run_dir / "agent" / "pairing-code").read_text().split()
    except (OSError, ValueError):
        return "this machine has not joined a cluster yet"
    return f"this machine waits to be let in; on the server: sudo edgekube node approve {node_name} {code}"


async def _ask_api(settings: Settings, found: Survey) -> None:
    target = _target_of_agent(settings, found) if found.role == "agent" else _target_of_admin(settings, found)
    if target is None:
        return
    found.api_problem = "no answer"
    with trio.move_on_after(_ANSWER_SECONDS):
        http = target.http_client()
        try:
            version = await _get(http, "/version")
        except _NO_ANSWER as error:
            found.api_problem = f"nobody answers at {found.api_url} ({error})"
            return
        finally:
            await http.aclose()
        found.api_version = _git_version(version[1])
        http = target.http_client()
        status, body = await _get(http, "/readyz")
        await http.aclose()
        found.api_ready = status == 200
        found.api_problem = "" if found.api_ready else body.decode(errors="replace").strip()[:200]
        try:
            async with RemoteVerbs(target) as verbs:
                await _ask_verbs(verbs, found)
        except StatusError as error:
            found.node_message = error.message


async def _get(http: HttpClient, path: str) -> tuple[int, bytes]:
    response = await http.send("GET", path, {"accept": "application/json"}, None)
    async with response:
        return response.status, await response.read(_ANSWER_BYTES_MAX)


def _git_version(body: bytes) -> str:
    import orjson

    try:
        return str(orjson.loads(body)["gitVersion"])
    except (ValueError, KeyError, TypeError):
        return "something that is not Kubernetes"


async def _ask_verbs(verbs: RemoteVerbs, found: Survey) -> None:
    on_this_node = ListOptions(field_selector=f"spec.nodeName={found.node_name}")
    nodes = await verbs.list(NODE, "", ListOptions(field_selector=f"metadata.name={found.node_name}"))
    for node in nodes.objects():
        conditions = (node.get("status") or {}).get("conditions") or []
        ready: Object = next((condition for condition in conditions if condition.get("type") == "Ready"), {})
        found.node_ready = ready.get("status") == "True"
        found.node_message = str(ready.get("message") or ready.get("reason") or "it has not reported yet")
    pods = await verbs.list(POD, "", on_this_node)
    found.pods = dict(Counter(str((pod.get("status") or {}).get("phase") or "Pending") for pod in pods.objects()))


async def _ask_containerd(settings: Settings, found: Survey) -> None:
    address = settings.containerd_address or str(settings.containerd_state / "containerd.sock")
    with trio.move_on_after(_ANSWER_SECONDS):
        async with connect(address) as runtime:
            try:
                found.containerd = await runtime.version()
            except RuntimeFailure:
                return
    try:
        pid = (settings.containerd_state / "containerd.pid").read_text().split()[0]
    except (OSError, IndexError):
        return
    if found.containerd and not settings.containerd_address:
        found.containerd += f" (pid {pid})"


def certificate_days(directory: Path, now: datetime.datetime) -> dict[str, int]:
    """Days until each certificate of the directory ends, negative when it has; what cannot be read is left out."""
    from cryptography import x509

    found = {}
    try:
        paths = sorted(directory.glob("*.crt"))
    except OSError:
        return {}
    for path in paths:
        try:
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
        except (OSError, ValueError):
            continue
        found[path.name] = (certificate.not_valid_after_utc - now).days
    return found


def _used_bytes(directory: Path) -> int:
    """What du says, without the volumes and containers that are mounted below it."""
    try:
        done = subprocess.run(["du", "-s", "-x", "-B1", str(directory)], capture_output=True, text=True, timeout=60, check=False)
        return int(done.stdout.split()[0])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return 0


def _free_bytes(directory: Path) -> int:
    disk = os.statvfs(directory)
    return disk.f_frsize * disk.f_bavail
