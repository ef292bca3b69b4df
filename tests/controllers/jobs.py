"""Jobs for tests, and what becomes of their pods on a node."""

from __future__ import annotations

from collections.abc import Sequence

from edgekube.api import times
from edgekube.api.controller import Controller
from edgekube.api.kinds import JOB, POD
from edgekube.api.objects import Object, annotations_of, labels_of, name_of
from edgekube.controllers.job.controller import new_controller
from edgekube.controllers.job.facts import COMPLETION_INDEX
from tests.controllers.world import World


def job(**spec: object) -> Object:
    template = {
        "metadata": {"labels": {"batch.kubernetes.io/controller-uid": "u", "job-name": "work"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]},
    }
    selector = {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}
    fixed = {"parallelism": 1, "backoffLimit": 6, "completionMode": "NonIndexed", "suspend": False, **spec}
    if "completions" not in fixed:
        fixed["completions"] = 1
    fixed.setdefault("podReplacementPolicy", "Failed" if fixed.get("podFailurePolicy") else "TerminatingOrFailed")
    return {
        "metadata": {"name": "work", "namespace": "default"},
        "spec": {key: value for key, value in fixed.items() if value is not None} | {"selector": selector, "template": template},
        "status": {},
    }


class Bench:
    """One Job in a world of its own."""

    def __init__(self, obj: Object) -> None:
        self.world = World()
        self.controller: Controller = new_controller()
        self.world.put(JOB, obj)

    def settle(self, steps: int = 12) -> None:
        """Plan until a plan is empty but for waiting."""
        for _ in range(steps):
            if not self.step():
                return
        raise AssertionError("the plans do not end")

    def step(self) -> bool:
        calls = self.world.plan(self.controller, "default", "work")
        self.world.carry_out(calls)
        return any(type(call).__name__ != "Later" for call in calls)

    def restart(self) -> None:
        """A new process: nothing is remembered."""
        self.controller = new_controller()

    @property
    def job(self) -> Object:
        found = self.world.get(JOB, "default", "work")
        assert found is not None, "the Job is there"
        return found

    @property
    def status(self) -> Object:
        status: Object = self.job["status"]
        return status

    def conditions(self) -> list[tuple[str, str, str]]:
        return [(each["type"], each["status"], each["reason"]) for each in self.status.get("conditions") or ()]

    def pods(self) -> list[Object]:
        return list(self.world.list(POD))

    def active(self) -> list[Object]:
        return [
            pod
            for pod in self.pods()
            if pod["status"]["phase"] not in ("Succeeded", "Failed") and not pod["metadata"].get("deletionTimestamp")
        ]

    def indexes(self) -> list[str]:
        return sorted(annotations_of(pod)[COMPLETION_INDEX] for pod in self.active())

    def of_index(self, index: int) -> Object:
        return next(pod for pod in self.active() if labels_of(pod)[COMPLETION_INDEX] == str(index))

    def run(self, pod: Object) -> None:
        since = times.rfc3339(self.world.now)
        pod["spec"]["nodeName"] = "n1"
        pod["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": since}]}
        self.world.put(POD, pod)

    def end(self, pod: Object, code: int = 0, conditions: Sequence[Object] = ()) -> None:
        """The pod's container exits, and its node says so."""
        found = self.world.get(POD, "default", name_of(pod))
        assert found is not None, "a pod that ends is there"
        terminated = {"exitCode": code, "finishedAt": times.rfc3339(self.world.now)}
        found["spec"]["nodeName"] = "n1"
        found["status"] = {
            "phase": "Failed" if code else "Succeeded",
            "containerStatuses": [{"name": "c", "restartCount": 0, "state": {"terminated": terminated}}],
            "conditions": list(conditions),
        }
        self.world.put(POD, found)

    def sweep(self) -> None:
        """Nodes take away what is being deleted and kept by no finalizer."""
        for pod in self.pods():
            if pod["metadata"].get("deletionTimestamp") and not pod["metadata"].get("finalizers"):
                self.world.gone(POD, "default", name_of(pod))
