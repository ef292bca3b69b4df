"""Images: is it there, may this pod have it, may it be pulled, with whose credentials, and when to try again.

Enters: a container's image and pull policy, pull secrets.
Leaves: the Image to run, or ImageProblem; events Pulling, Pulled, Failed, BackOff, ErrImageNeverPull, InspectFailed.
Holds: so many pulls at a time as the node's settings say, in the order in which they were asked for; a failed pull waits 10 s,
doubling to 5 min; an image that a secret brought is shown to those alone who have credentials for it (agent.images.records).
Bound: limits.IMAGE_PULL_SECONDS_MAX for a pull.
Source: Kubernetes documentation, "Images".
Next: agent.execute.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import trio
from msgspec import Struct

from edgekube.agent.images.keyring import Credential, credentials_for, repository_of
from edgekube.agent.images.naming import InvalidName, default_policy, full_name, quoted, took
from edgekube.agent.images.progress import tell_progress
from edgekube.agent.images.providers import CredentialProviders
from edgekube.agent.images.records import PRELOADED, PullRecords, must_verify
from edgekube.agent.problems import ImageProblem
from edgekube.agent.restart import Backoff
from edgekube.api.objects import Object
from edgekube.containerd.model import Image, RegistryAuth, RuntimeFailure
from edgekube.containerd.protocol import Runtime
from edgekube.limits import IMAGE_PULL_SECONDS_MAX, IMAGE_REMEMBERED_SECONDS

log = logging.getLogger("edgekube.agent")

MISSING_RETRY_SECONDS = 10.0

#: (type, reason, message)
Tell: TypeAlias = Callable[[str, str, str], None]
#: The full name of an image and the pod's credentials -> all, in the order in which they are tried.
NodeCredentials: TypeAlias = Callable[[str, list[Credential]], list[Credential]]


class PullRules(Struct, frozen=True):
    parallel_pulls_max: int = 1
    verification: str = PRELOADED
    allowlist: tuple[str, ...] = ()


class Images:
    def __init__(
        self,
        runtime: Runtime,
        clock: Callable[[], float] = time.time,
        *,
        rules: PullRules | None = None,
        records: PullRecords | None = None,
        own: NodeCredentials | None = None,
        providers: CredentialProviders | None = None,
    ) -> None:
        """``records`` None: nobody has to prove anything."""
        self._runtime = runtime
        self._clock = clock
        self._rules = rules or PullRules()
        self._records = records
        self._own: NodeCredentials = own or (lambda full, of_pod: of_pod)
        self._providers = providers
        self._pulls = trio.Semaphore(self._rules.parallel_pulls_max)
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

    async def recover(self) -> None:
        """Once, at start: pulls that the last process did not see the end of."""
        if self._records is None or not (references := self._records.intents()):
            return
        names = {}
        for reference in references:
            try:
                names[reference] = full_name(reference)
            except InvalidName:
                names[reference] = reference
        try:
            await self._records.recover(await self._runtime.list_images(), names, self._clock())
        except (RuntimeFailure, OSError) as error:
            log.warning("interrupted pulls stay unknown error=%s", error)

    async def ensure(self, uid: str, reference: str, policy: str, secrets: Iterable[Object], tell: Tell) -> Image:
        """The image, present now and for this pod. ImageProblem else."""
        try:
            full = full_name(reference)
        except InvalidName as invalid:
            tell("Warning", "InspectFailed", str(invalid))
            tell("Warning", "Failed", "Error: InvalidImageName")
            raise ImageProblem("InvalidImageName", str(invalid), MISSING_RETRY_SECONDS) from None
        policy = policy or default_policy(reference)
        present: Image | None = None
        if policy != "Always":
            present = await self._inspect(reference, tell)
        try:
            credentials = self._own(full, credentials_for(secrets, full))
        except ValueError as error:
            if present is None or not self._is_free(reference, full, present):
                tell("Warning", "Failed", f"Error: {error}")
                raise ImageProblem("ErrImagePull", str(error), MISSING_RETRY_SECONDS) from None
            credentials = []
        if present is not None and await self._may_have(reference, full, present, credentials):
            verified = "" if self._records is None else " and can be accessed by the pod"
            tell("Normal", "Pulled", f"Container image {quoted(reference)} already present on machine{verified}")
            return present
        if policy == "Never":
            # The same whether it is absent or not this pod's: that it is here is nobody else's business.
            message = f"Container image {quoted(reference)} is not present with pull policy of Never"
            tell("Warning", "ErrImageNeverPull", message)
            tell("Warning", "Failed", "Error: ErrImageNeverPull")
            raise ImageProblem("ErrImageNeverPull", message, MISSING_RETRY_SECONDS)
        return await self._pull(f"{uid}/{reference}", reference, full, credentials, tell)

    async def _inspect(self, reference: str, tell: Tell) -> Image | None:
        try:
            return await self.glance(reference)
        except RuntimeFailure as failure:
            message = f"Failed to inspect image {quoted(reference)}: {failure.message}"
            tell("Warning", "InspectFailed", message)
            tell("Warning", "Failed", "Error: ImageInspectError")
            raise ImageProblem("ImageInspectError", message, MISSING_RETRY_SECONDS) from None

    def _is_free(self, reference: str, full: str, image: Image) -> bool:
        """It asks for no credentials."""
        if self._records is None:
            return True
        pulled = self._records.was_pulled(reference, image.id)
        return not must_verify(self._rules.verification, self._rules.allowlist, repository_of(full), pulled=pulled)

    async def _may_have(self, reference: str, full: str, image: Image, credentials: Iterable[Credential]) -> bool:
        return self._is_free(reference, full, image) or (
            self._records is not None and await self._records.allows(image.id, repository_of(full), credentials, self._clock())
        )

    async def _pull(self, key: str, reference: str, full: str, credentials: list[Credential], tell: Tell) -> Image:
        name = quoted(reference)
        if key in self._failures:
            failed_at, why = self._failures[key]
            left_seconds = self._backoff.remaining_seconds(key, failed_at, self._clock())
            if left_seconds > 0:
                tell("Normal", "BackOff", f"Back-off pulling image {name}")
                tell("Warning", "Failed", "Error: ImagePullBackOff")
                raise ImageProblem("ImagePullBackOff", f"Back-off pulling image {name}: {why}", left_seconds)
        tell("Normal", "Pulling", f"Pulling image {name}")
        asked = trio.current_time()
        try:
            async with self._pulls:
                began = trio.current_time()
                image = await self._told_pull(reference, full, credentials, tell)
        except RuntimeFailure as failure:
            delay_seconds = self._backoff.advance(key, self._clock())
            reason, message = error_of(reference, failure.message)
            self._failures[key] = (self._clock(), f"{reason}: {message}")
            tell("Warning", "Failed", f"Failed to pull image {name}: {failure.message}")
            tell("Warning", "Failed", f"Error: {reason}")
            tell("Normal", "BackOff", f"Back-off pulling image {name}")
            tell("Warning", "Failed", "Error: ImagePullBackOff")
            backing_off = f"Back-off pulling image {name}: {reason}: {message}"
            raise ImageProblem(reason, message, delay_seconds, ("ImagePullBackOff", backing_off)) from None
        now = trio.current_time()
        self._failures.pop(key, None)
        size = f"Image size: {image.size_bytes} bytes."
        tell(
            "Normal",
            "Pulled",
            f"Successfully pulled image {name} in {took(now - began)} ({took(now - asked)} including waiting). {size}",
        )
        return image

    async def _told_pull(self, reference: str, full: str, credentials: list[Credential], tell: Tell) -> Image:
        if self._providers is not None:
            credentials = [*credentials, *await self._providers.credentials(repository_of(full))]
        failure: RuntimeFailure | None = None
        image: Image | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell_progress, self._runtime, quoted(reference), tell)
            try:
                image = await self._recorded_pull(reference, full, credentials)
            except RuntimeFailure as error:
                failure = error
            nursery.cancel_scope.cancel()
        if image is None:
            assert failure is not None
            raise failure
        return image

    async def _recorded_pull(self, reference: str, full: str, credentials: list[Credential]) -> Image:
        if self._records is not None:
            try:
                await self._records.begin(reference)
            except OSError as error:
                message = f"Failed to record image pull intent for container image {quoted(reference)}: {error}"
                raise RuntimeFailure("UNKNOWN", message) from None
        known = False
        try:
            used = await self._pull_with_any(reference, credentials)
            self._present.pop(reference, None)
            image = await self._runtime.image_status(reference)
            if image is None:
                raise RuntimeFailure("NOT_FOUND", f"image {quoted(reference)} vanished after it was pulled")
            if self._records is not None:
                await self._records.succeeded(repository_of(full), image.id, used, self._clock())
            known = True
            return image
        except RuntimeFailure:
            known = True
            raise
        except OSError as error:
            raise RuntimeFailure("UNKNOWN", f"Failed to record the pull of image {quoted(reference)}: {error}") from None
        finally:
            # Given up in its middle, nobody knows what containerd has of it.
            if self._records is not None:
                self._records.ended(reference, known=known)

    async def _pull_with_any(self, reference: str, credentials: list[Credential]) -> Credential | None:
        """With each matching credential in turn, else with none. The one that it went by."""
        failures: list[RuntimeFailure] = []
        tried: Sequence[Credential | None] = credentials or [None]
        for credential in tried:
            try:
                with trio.move_on_after(IMAGE_PULL_SECONDS_MAX):
                    await self._runtime.pull_image(reference, _auth(credential))
                    return credential
                raise RuntimeFailure("DEADLINE_EXCEEDED", f"the image was not complete after {IMAGE_PULL_SECONDS_MAX} s")
            except RuntimeFailure as failure:
                failures.append(failure)
        if len(failures) == 1:
            raise failures[0]
        raise RuntimeFailure(failures[-1].code, f"[{', '.join(dict.fromkeys(failure.message for failure in failures))}]")


def _auth(credential: Credential | None) -> RegistryAuth | None:
    return credential.auth if credential is not None else None


def error_of(reference: str, message: str) -> tuple[str, str]:
    """Reason and message of status; two errors of the CRI have names of their own."""
    for prefix, reason, words in (
        ("RegistryUnavailable", "RegistryUnavailable", "the registry is unavailable"),
        ("SignatureValidationFailed", "SignatureValidationFailed", "the signature validation failed"),
    ):
        if message.startswith(prefix):
            return reason, f"image pull failed for {reference} because {words}{message.removeprefix(prefix)}"
    return "ErrImagePull", message
