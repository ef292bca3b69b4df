"""Every pod of this node has a worker: from the API, from containerd, or from disk.

Enters: the API's pods with spec.nodeName of this node; at start what containerd still runs.
Leaves: one PodWorker per uid, told of each change.
Holds: what the API does not know is taken down, but only once the API has spoken. While it is silent, the pods on disk run on.
Next: agent.worker.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import orjson
import trio

from edgekube.agent.context import NodeContext
from edgekube.agent.departed import Departed
from edgekube.agent.entry import Entry
from edgekube.agent.names import GRACE_PERIOD, POD_NAME, POD_NAMESPACE, PodPaths
from edgekube.agent.resizing import Resizes
from edgekube.agent.static.keeper import StaticPods
from edgekube.agent.static.manifest import CONFIG_MIRROR, is_static
from edgekube.agent.volumes.record import with_records
from edgekube.agent.volumes.setup import remove_pod_directory
from edgekube.agent.worker import PodWorker
from edgekube.api.objects import Object, uid_of
from edgekube.api.verbs import DELETED, WatchEvent

log = logging.getLogger("edgekube.agent")

#: How long a start waits for the API before it goes by the pods on disk.
API_WAIT_SECONDS = 5.0
#: Before a worker that failed is made anew.
WORKER_RETRY_SECONDS = 10.0


class _Metadata(msgspec.Struct):
    uid: str
    resourceVersion: str  # the wire's names
    annotations: dict[str, str] | None = None


class _Head(msgspec.Struct):
    metadata: _Metadata


#: Most events are echoes of this node's own writes: their revision says so, and nothing more is decoded.
_heads = msgspec.json.Decoder(_Head)


class Pods:
    """A Sink for this node's pods."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._node: NodeContext | None = None
        self._entry: Entry | None = None
        self._static: StaticPods | None = None
        self._workers: dict[str, PodWorker] = {}
        self._listed: set[str] = set()
        self._departed = Departed()
        self._revision = 0
        self.synced = trio.Event()

    def attach(self, node: NodeContext) -> None:
        self._node = node
        self._entry = Entry(node, self.workers)
        resizes = Resizes(self._entry)
        node.wants_resize = lambda uid: resizes.want(self._workers[uid])
        node.room_changed = resizes.something_is_free
        self._nursery.start_soon(resizes.run)
        self._static = StaticPods(
            node.settings.agent_dir / "manifests",
            node,
            begin=lambda pod: self._begin(PodWorker(node, pod)),
            end=lambda uid: self._workers[uid].removed(),
            running=lambda name: self._static_workers().get(name, []),
            told=self._mirror_told,
        )

    def begin_static(self) -> None:
        """What lies in the manifests directory now; and from then on."""
        self.static.read()
        self._nursery.start_soon(self.static.run, self._static_workers)

    @property
    def static(self) -> StaticPods:
        assert self._static is not None, "attach comes first"
        return self._static

    def _static_workers(self) -> dict[tuple[str, str], list[str]]:
        found: dict[tuple[str, str], list[str]] = {}
        for uid, worker in self._workers.items():
            if worker.static:
                found.setdefault((worker.namespace, worker.name), []).append(uid)
        return found

    def _mirror_told(self, uid: str, mirror: Object | None) -> None:
        worker = self._workers.get(uid)
        if worker is not None:
            worker.mirror_told(mirror)

    @property
    def node(self) -> NodeContext:
        assert self._node is not None, "attach comes first"
        return self._node

    # --- look-ups -----------------------------------------------------------------------------------------------------

    def workers(self) -> Iterator[PodWorker]:
        return iter(list(self._workers.values()))

    def active(self) -> set[str] | None:
        """uids of pods that have not come to their end; None before the API has named them all."""
        if not self.synced.is_set():
            return None
        return {worker.uid for worker in self._workers.values() if not (worker.ended.is_set() or worker.memory.refused)}

    def named(self, namespace: str, name: str) -> PodWorker | None:
        """The newest pod of the name (a namesake may still be on its way out)."""
        found = [worker for worker in self._workers.values() if (worker.namespace, worker.name) == (namespace, name)]
        return next((worker for worker in reversed(found) if not worker.memory.gone), found[-1] if found else None)

    def poke(self, uid: str) -> None:
        worker = self._workers.get(uid)
        if worker is not None:
            worker.poke()

    def references_changed(self, uid: str) -> None:
        worker = self._workers.get(uid)
        if worker is not None:
            worker.references_changed()

    def poke_all(self) -> None:
        """Something that any pod may have waited for is there now: an image."""
        self.node.images.look_again()
        for worker in self._workers.values():
            worker.retry_images()

    def running_logs(self) -> Iterator[tuple[str, Path]]:
        """(container id, log file) of each running container."""
        for worker in self.workers():
            paths = self.node.paths(worker.pod())
            for item in self.node.observer.of(worker.uid).containers:
                if item.status.state == "RUNNING":
                    yield item.status.id, paths.log(item.status.name, item.status.attempt)

    # --- from the API -------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        self._listed = set()

    def add(self, items: Sequence[bytes]) -> None:
        for item in items:
            self._listed.add(self._upsert(item))

    def finish(self, revision: int) -> None:
        self._revision = revision
        for uid, worker in self._workers.items():
            if uid not in self._listed and not worker.static:
                worker.removed()
        self._departed.listed(self._listed)
        self.static.mirrors_listed(self._listed)
        self.synced.set()

    def apply(self, event: WatchEvent) -> None:
        head = _heads.decode(event.raw).metadata
        self._revision = int(head.resourceVersion)
        if event.type == DELETED:
            self._departed.deleted(head.uid)
            worker = self._workers.get(head.uid)
            if worker is not None:
                worker.removed()
            else:
                self.static.mirror_gone(head.uid)
        else:
            self._upsert(event.raw)

    def progressed(self, revision: int) -> None:
        self._revision = revision

    def resume_from(self) -> int:
        return self._revision

    def _upsert(self, raw: bytes) -> str:
        head = _heads.decode(raw).metadata
        if CONFIG_MIRROR in (head.annotations or {}):
            self.static.mirror(orjson.loads(raw))
            return head.uid
        worker = self._workers.get(head.uid)
        if worker is None:
            if head.uid not in self._departed:
                self._begin(PodWorker(self.node, orjson.loads(raw)))
        else:
            worker.update(raw, int(head.resourceVersion))
        return head.uid

    def _begin(self, worker: PodWorker) -> None:
        self._workers[worker.uid] = worker
        self._nursery.start_soon(self._run, worker)

    async def _run(self, worker: PodWorker) -> None:
        assert self._entry is not None, "attach comes first"
        try:
            while True:
                try:
                    await self._entry.admit(worker)
                    worker.take_up()
                    await worker.run()
                    if not (worker.static or worker.memory.gone):
                        self._departed.left(worker.uid)
                    break
                except Exception:
                    # A fault met with one pod must not take the node's other pods from their keeper.
                    log.exception("pod worker failed pod=%s/%s uid=%s", worker.namespace, worker.name, worker.uid)
                    self.node.event(worker.pod(), "Warning", "FailedSync", "error syncing pod; the node's log has the details")
                await trio.sleep(WORKER_RETRY_SECONDS)
                failed, worker = worker, PodWorker(self.node, worker.desired(), gone=worker.memory.gone)
                worker.succeed(failed)
                self._workers[worker.uid] = worker
        finally:
            if self._workers.get(worker.uid) is worker:
                del self._workers[worker.uid]
                self.node.rebalance()
            self.node.room_changed()
            self.static.worker_ended()

    # --- from here ----------------------------------------------------------------------------------------------------

    async def adopt(self) -> None:
        """Once, at start: wait for the API, go by the disk while it is silent, and take down what nobody wants."""
        with trio.move_on_after(API_WAIT_SECONDS):
            await self.synced.wait()
        if not self.synced.is_set():
            self._from_disk()
            await self.synced.wait()
            for uid in self.node.volumes.alone:
                self.references_changed(uid)
            self.node.volumes.alone.clear()
        for uid in self.node.observer.pods():
            if uid not in self._workers:
                orphan = self._orphan(uid)
                if orphan is not None:
                    log.info("taking down a pod that the API does not have uid=%s", uid)
                    self._begin(PodWorker(self.node, orphan, gone=True))
        for uid in with_records(self.node.settings.agent_dir):
            if uid not in self._workers:
                # Drivers may have to undo these, and those may not be there yet: somebody must try until it is done.
                log.info("undoing the volumes of a pod that is gone uid=%s", uid)
                self._begin(PodWorker(self.node, self._recorded(uid), gone=True))
        await trio.to_thread.run_sync(self._clean, self._leftovers())

    def _from_disk(self) -> None:
        for checkpoint in (self.node.settings.agent_dir / "pods").glob("*/pod.json"):
            try:
                pod: Object = orjson.loads(checkpoint.read_bytes())
            except (OSError, ValueError):
                log.warning("checkpoint is not readable path=%s", checkpoint)
                continue
            if is_static(pod):
                continue  # its file says whether it is still wanted
            if uid_of(pod) == checkpoint.parent.name and uid_of(pod) not in self._workers:
                log.info("the API is silent, going by the checkpoint uid=%s", uid_of(pod))
                self.node.volumes.alone.add(uid_of(pod))
                self._begin(PodWorker(self.node, pod))

    def _recorded(self, uid: str) -> Object:
        """The pod as it was last accepted; its uid at least."""
        try:
            pod: Object = orjson.loads((self.node.settings.agent_dir / "pods" / uid / "pod.json").read_bytes())
        except (OSError, ValueError):
            pod = {}
        if uid_of(pod) == uid:
            return pod
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "", "namespace": "", "uid": uid},
            "spec": {"containers": []},
        }

    def _orphan(self, uid: str) -> Object | None:
        """A pod made up from what containerd remembers, good enough to be taken down."""
        observed = self.node.observer.of(uid)
        grace: int | None = None
        for item in observed.containers:
            text = item.status.annotations.get(GRACE_PERIOD, "")
            grace = int(text) if text.isdigit() else grace
        if observed.sandboxes:
            row = observed.sandboxes[0].sandbox
            namespace, name = row.namespace, row.name
        elif observed.containers:
            labels = observed.containers[0].status.labels
            namespace, name = labels.get(POD_NAMESPACE, ""), labels.get(POD_NAME, "")
        else:
            return None
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "uid": uid},
            "spec": {"containers": [], "terminationGracePeriodSeconds": grace},
        }

    def _leftovers(self) -> list[tuple[PodPaths, str]]:
        """Paths, and the cgroup or "", of pods that neither the API nor containerd has.

        Listed without waiting in between, so that a pod that arrives meanwhile is not among them.
        """
        settings, known = self.node.settings, self._workers
        found: list[tuple[PodPaths, str]] = []
        pods, logs, links = settings.agent_dir / "pods", settings.pod_logs_dir, settings.container_logs_dir
        uids = [folder.name for folder in pods.iterdir()] if pods.is_dir() else []
        found.extend((PodPaths(settings.agent_dir, logs, "", "", uid, links), "") for uid in uids if uid not in known)
        for folder in logs.iterdir() if logs.is_dir() else ():
            namespace, _, rest = folder.name.partition("_")
            name, _, uid = rest.rpartition("_")
            if uid and uid not in known:
                found.append((PodPaths(settings.agent_dir, logs, namespace, name, uid, links), ""))
        for uid, cgroup in self.node.cgroups.pods().items():
            if uid not in known:
                found.append((PodPaths(settings.agent_dir, logs, "", "", uid, links), cgroup))
        return found

    def _clean(self, leftovers: list[tuple[PodPaths, str]]) -> None:
        for paths, cgroup in leftovers:
            log.info("removing what a pod left uid=%s cgroup=%s", paths.uid, cgroup)
            try:
                remove_pod_directory(paths)
                if cgroup:
                    self.node.cgroups.remove(cgroup, kill=False)
            except OSError as error:
                log.warning("leftover stays uid=%s error=%s", paths.uid, error)
