"""Images: is it there, may it be pulled, with whose credentials, and when to try again.

Enters: a container's image and pull policy, pull secrets, archives in a directory.
Leaves: the Image to run, or ImageProblem; events Pulling, Pulled, Failed, BackOff.
Holds: one pull at a time (an SD card and a home line have no more); a failed pull waits 10 s, doubling to 5 min.
Source: Kubernetes documentation, "Images".
Next: agent.execute.
"""

from __future__ import annotations

import base64
import logging
import re
import time
from collections.abc import Callable, Iterable

import orjson
import trio

from edgekube.agent.env import secret_data
from edgekube.agent.problems import ImageProblem
from edgekube.agent.restart import Backoff
from edgekube.api.objects import Object
from edgekube.containerd.model import Image, RegistryAuth, RuntimeFailure
from edgekube.containerd.protocol import Runtime
from edgekube.limits import IMAGE_PULL_SECONDS_MAX, IMAGE_REMEMBERED_SECONDS

log = logging.getLogger("edgekube.agent")

_REFERENCE = re.compile(
    r"(?:(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?/)?"
    r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@[A-Za-z][A-Za-z0-9]*:[0-9a-fA-F]{32,})?"
)
#: How long ErrImagePull is shown before it reads ImagePullBackOff.
ERROR_SHOWN_SECONDS = 2.0
MISSING_RETRY_SECONDS = 10.0

#: (type, reason, message)
Tell = Callable[[str, str, str], None]


def registry_of(reference: str) -> str:
    """``docker.io`` when the reference names none."""
    first, slash, _ = reference.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first
    return "docker.io"


def _registry_key(key: str) -> str:
    host = key.removeprefix("https://").removeprefix("http://").split("/", 1)[0]
    return "docker.io" if host in ("index.docker.io", "registry-1.docker.io") else host


def credentials(secrets: Iterable[Object], reference: str) -> list[RegistryAuth]:
    """From kubernetes.io/dockerconfigjson and dockercfg secrets: those for the image's registry, longest path first."""
    registry = registry_of(reference)
    found: list[tuple[int, RegistryAuth]] = []
    for secret in secrets:
        data = secret_data(secret)
        try:
            if ".dockerconfigjson" in data:
                auths = orjson.loads(data[".dockerconfigjson"]).get("auths") or {}
            else:
                auths = orjson.loads(data.get(".dockercfg", b"{}"))
            for key, entry in auths.items():
                path = key.removeprefix("https://").removeprefix("http://").rstrip("/")
                if _registry_key(key) != registry:
                    continue
                if "/" in path and not path.endswith(("/v1", "/v2")) and not f"{reference}/".startswith(f"{path}/"):
                    continue
                username, password = entry.get("username") or "", entry.get("password") or ""
                if entry.get("auth"):
                    username, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
                token = entry.get("identitytoken") or ""
                found.append((len(path), RegistryAuth(username, password, registry, token)))
        except (ValueError, AttributeError):
            log.warning("pull secret is not readable secret=%s", (secret.get("metadata") or {}).get("name"))
    return [auth for _, auth in sorted(found, key=lambda item: -item[0])]


def default_policy(reference: str) -> str:
    """Always for :latest or no tag, else IfNotPresent (the API's own default, for pods that were never defaulted)."""
    if "@" in reference:
        return "IfNotPresent"
    name = reference.rsplit("/", 1)[-1]
    return "Always" if ":" not in name or name.endswith(":latest") else "IfNotPresent"


class Images:
    def __init__(self, runtime: Runtime, clock: Callable[[], float] = time.time) -> None:
        self._runtime = runtime
        self._clock = clock
        self._one_pull = trio.Lock()
        self._backoff = Backoff()
        self._failures: dict[str, tuple[float, str]] = {}
        #: Reference -> the image, and until when the answer is good enough for the next container.
        self._present: dict[str, tuple[float, Image]] = {}
        self._asked: dict[str, trio.Event] = {}

    def forget(self, uid: str) -> None:
        for key in [key for key in self._failures if key.startswith(uid + "/")]:
            del self._failures[key]
            self._backoff.forget(key)

    def look_again(self) -> None:
        """Images may be others than they were."""
        self._present.clear()

    async def glance(self, reference: str) -> Image | None:
        """The image if it is here, by an answer at most IMAGE_REMEMBERED_SECONDS old; many that ask at once share one."""
        while reference in self._asked:
            await self._asked[reference].wait()
        until, image = self._present.get(reference, (0.0, None))
        if image is not None and trio.current_time() < until:
            return image
        self._asked[reference] = done = trio.Event()
        try:
            found = await self._runtime.image_status(reference)
        finally:
            del self._asked[reference]
            done.set()
        self._present = {key: value for key, value in self._present.items() if value[0] > trio.current_time()}
        if found is not None:
            self._present[reference] = trio.current_time() + IMAGE_REMEMBERED_SECONDS, found
        return found

    async def ensure(self, uid: str, reference: str, policy: str, secrets: Iterable[Object], tell: Tell) -> Image:
        """The image, present now. ImageProblem else."""
        if not _REFERENCE.fullmatch(reference):
            message = (
                f'Failed to apply default image tag "{reference}": couldn\'t parse image name "{reference}": '
                "invalid reference format"
            )
            tell("Warning", "InspectFailed", message)
            raise ImageProblem("InvalidImageName", message, MISSING_RETRY_SECONDS)
        policy = policy or default_policy(reference)
        present = await self.glance(reference)
        if policy != "Always" and present is not None:
            tell("Normal", "Pulled", f'Container image "{reference}" already present on machine')
            return present
        if policy == "Never":
            message = f'Container image "{reference}" is not present with pull policy of Never'
            tell("Warning", "ErrImageNeverPull", message)
            raise ImageProblem("ErrImageNeverPull", message, MISSING_RETRY_SECONDS)
        return await self._pull(f"{uid}/{reference}", reference, list(secrets), tell)

    async def _pull(self, key: str, reference: str, secrets: list[Object], tell: Tell) -> Image:
        now = self._clock()
        if key in self._failures:
            failed_at, why = self._failures[key]
            left_seconds = self._backoff.remaining_seconds(key, failed_at, now)
            if left_seconds > 0:
                tell("Normal", "BackOff", f'Back-off pulling image "{reference}"')
                raise ImageProblem("ImagePullBackOff", f'Back-off pulling image "{reference}": ErrImagePull: {why}', left_seconds)
        async with self._one_pull:
            tell("Normal", "Pulling", f'Pulling image "{reference}"')
            began = time.monotonic()
            try:
                await self._pull_with_any(reference, secrets)
            except RuntimeFailure as failure:
                delay_seconds = self._backoff.advance(key, self._clock())
                self._failures[key] = (self._clock(), failure.message)
                tell("Warning", "Failed", f'Failed to pull image "{reference}": {failure.message}')
                tell("Warning", "Failed", "Error: ErrImagePull")
                tell("Normal", "BackOff", f'Back-off pulling image "{reference}"')
                backing_off = f'Back-off pulling image "{reference}": ErrImagePull: {failure.message}'
                raise ImageProblem("ErrImagePull", failure.message, delay_seconds, ("ImagePullBackOff", backing_off)) from None
            took_ms = round((time.monotonic() - began) * 1000)
        self._failures.pop(key, None)
        self._present.pop(reference, None)
        image = await self._runtime.image_status(reference)
        if image is None:
            raise ImageProblem("ErrImagePull", f'image "{reference}" vanished after it was pulled', 10.0)
        took = f"{took_ms}ms" if took_ms < 1000 else f"{took_ms / 1000:.3f}s"
        size = f"Image size: {image.size_bytes} bytes."
        tell("Normal", "Pulled", f'Successfully pulled image "{reference}" in {took} ({took} including waiting). {size}')
        return image

    async def _pull_with_any(self, reference: str, secrets: list[Object]) -> None:
        """With each matching credential in turn, else with none."""
        auths: list[RegistryAuth | None] = [*credentials(secrets, reference)]
        if not auths:
            auths = [None]
        for position, auth in enumerate(auths):
            try:
                with trio.move_on_after(IMAGE_PULL_SECONDS_MAX):
                    await self._runtime.pull_image(reference, auth)
                    return
                raise RuntimeFailure("DEADLINE_EXCEEDED", f"the image was not complete after {IMAGE_PULL_SECONDS_MAX} s")
            except RuntimeFailure:
                if position == len(auths) - 1:
                    raise
