"""When images are pulled, what pods are told meanwhile, and who may have what is here."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from edgekube.agent.images.naming import InvalidName, default_policy, full_name, took
from edgekube.agent.images.pulling import Images, PullRules, error_of
from edgekube.agent.images.records import PullRecords
from edgekube.agent.problems import ImageProblem
from edgekube.containerd.model import Image, RegistryAuth, RuntimeFailure, Write
from tests.agent.images.test_keyring import login, secret

NEVER_THERE = 'Container image "shop:1" is not present with pull policy of Never'


class Registry:
    """The image verbs of a runtime whose registry is sometimes away, and wants one password where there is one."""

    def __init__(self, password: str = "") -> None:
        self.away = True
        self.password = password
        self.here = False
        self.pulls: list[RegistryAuth | None] = []
        self.at_once = self.most_at_once = 0
        self.seconds = 0.0

    async def image_status(self, reference: str) -> Image | None:
        return Image("sha256:1", (reference,), (), 5) if self.here or (not self.away and not self.password) else None

    async def writes(self) -> list[Write]:
        return []

    async def pull_image(self, reference: str, auth: RegistryAuth | None = None) -> str:
        self.pulls.append(auth)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await trio.sleep(self.seconds)
        self.at_once -= 1
        if self.away:
            raise RuntimeFailure("UNKNOWN", "no route to host")
        if self.password and (auth is None or auth.password != self.password):
            raise RuntimeFailure("UNKNOWN", f"401 for {auth.username if auth else 'nobody'}")
        self.here = True
        return "sha256:1"


def test_default_pull_policies() -> None:
    assert [default_policy(name) for name in ("a", "a:latest", "a:1", "host:5000/a", "a@sha256:" + "0" * 64)] == [
        "Always",
        "Always",
        "IfNotPresent",
        "Always",
        "IfNotPresent",
    ]


async def test_pulls_back_off() -> None:
    registry, now, told = Registry(), [1000.0], []
    images = Images(registry, lambda: now[0])  # type: ignore[arg-type]

    async def ensure() -> Image:
        return await images.ensure("u", "shop:1", "IfNotPresent", [], lambda *event: told.append(event[1]))

    with pytest.raises(ImageProblem) as first:
        await ensure()
    assert (first.value.reason, first.value.message, first.value.retry_seconds) == ("ErrImagePull", "no route to host", 10)
    assert first.value.then[0] == "ImagePullBackOff"
    now[0] += 4
    with pytest.raises(ImageProblem) as second:
        await ensure()
    assert (second.value.reason, second.value.retry_seconds) == ("ImagePullBackOff", 6)
    assert len(registry.pulls) == 1
    now[0] += 6
    with pytest.raises(ImageProblem) as third:
        await ensure()
    assert third.value.retry_seconds == 20
    registry.away = False
    now[0] += 20
    assert (await ensure()).id == "sha256:1"
    assert told[:3] == ["Pulling", "Failed", "Failed"]
    assert told[-1] == "Pulled"


async def test_a_registry_that_falls_silent_is_given_up(autojump_clock: MockClock) -> None:
    class Silent(Registry):
        async def pull_image(self, reference: str, auth: RegistryAuth | None = None) -> str:
            await trio.sleep_forever()
            raise AssertionError

    images = Images(Silent())  # type: ignore[arg-type]
    with pytest.raises(ImageProblem) as problem:
        await images.ensure("u", "shop:1", "IfNotPresent", [], lambda *event: None)
    assert problem.value.reason == "ErrImagePull"
    assert problem.value.message == "the image was not complete after 3600 s"
    assert trio.current_time() >= 3600


async def test_containers_that_start_together_ask_for_their_image_once(autojump_clock: MockClock) -> None:
    class Here(Registry):
        asked = 0

        async def image_status(self, reference: str) -> Image | None:
            self.asked += 1
            await trio.sleep(0.1)
            return Image(f"sha256:{self.asked}", (reference,), (), 5)

    registry = Here()
    images = Images(registry)  # type: ignore[arg-type]
    found: list[str] = []

    async def ensure() -> None:
        found.append((await images.ensure("u", "shop:1", "IfNotPresent", [], lambda *event: None)).id)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ensure)
    assert found == ["sha256:1"] * 20
    # A moment later, or when images came or failed, they are looked up again.
    await trio.sleep(3)
    await ensure()
    images.look_again()
    await ensure()
    assert found[20:] == ["sha256:2", "sha256:3"]


async def test_the_events_of_a_pull(autojump_clock: MockClock) -> None:
    registry, told = Registry(), []
    images = Images(registry, lambda: 0.0)  # type: ignore[arg-type]

    async def ensure() -> None:
        await images.ensure("u", "shop:1", "Always", [], lambda *event: told.append(event))

    with pytest.raises(ImageProblem):
        await ensure()
    assert told == [
        ("Normal", "Pulling", 'Pulling image "shop:1"'),
        ("Warning", "Failed", 'Failed to pull image "shop:1": no route to host'),
        ("Warning", "Failed", "Error: ErrImagePull"),
        ("Normal", "BackOff", 'Back-off pulling image "shop:1"'),
        ("Warning", "Failed", "Error: ImagePullBackOff"),
    ]
    with pytest.raises(ImageProblem) as waiting:
        await ensure()
    assert waiting.value.message == 'Back-off pulling image "shop:1": ErrImagePull: no route to host'
    images.forget("u")
    registry.away, registry.seconds = False, 1.5
    told.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ensure)
        nursery.start_soon(ensure)
    assert [event[2] for event in told] == [
        'Pulling image "shop:1"',
        'Pulling image "shop:1"',
        'Successfully pulled image "shop:1" in 1.5s (1.5s including waiting). Image size: 5 bytes.',
        'Successfully pulled image "shop:1" in 1.5s (3s including waiting). Image size: 5 bytes.',
    ]
    assert registry.most_at_once == 1


async def test_so_many_pulls_at_a_time_as_allowed(autojump_clock: MockClock) -> None:
    registry = Registry()
    registry.away, registry.seconds = False, 1.0
    images = Images(registry, rules=PullRules(parallel_pulls_max=3))  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(images.ensure, f"u{number}", f"shop:{number}", "Always", [], lambda *event: None)
    assert registry.most_at_once == 3
    assert trio.current_time() == pytest.approx(4.0, abs=0.1)


async def test_an_image_that_a_secret_brought_is_not_anybodys(tmp_path: Path) -> None:
    registry, now = Registry("right"), [0.0]
    registry.away = False
    images = Images(registry, lambda: now[0], records=PullRecords(tmp_path))  # type: ignore[arg-type]
    mine = secret({"docker.io": {"username": "me", "password": "right"}})
    told: list[tuple[str, str, str]] = []

    async def ensure(policy: str, *secrets: dict[str, object]) -> str:
        told.clear()
        return (await images.ensure("u", "shop:1", policy, secrets, lambda *event: told.append(event))).id

    wrong = secret({"docker.io/library": {"username": "old", "password": "wrong"}}, name="wrong")
    assert await ensure("IfNotPresent", wrong, mine) == "sha256:1"
    assert [auth.username for auth in registry.pulls if auth] == ["old", "me"]
    assert await ensure("IfNotPresent", mine) == "sha256:1"
    assert told == [("Normal", "Pulled", 'Container image "shop:1" already present on machine and can be accessed by the pod')]
    assert await ensure("Never", mine) == "sha256:1"
    assert len(registry.pulls) == 2

    with pytest.raises(ImageProblem) as never:
        await ensure("Never")
    assert (never.value.reason, never.value.message) == ("ErrImageNeverPull", NEVER_THERE)
    with pytest.raises(ImageProblem, match="401 for nobody"):
        await ensure("IfNotPresent")
    now[0] += 1000
    with pytest.raises(ImageProblem, match="401 for old"):
        await ensure("IfNotPresent", wrong)
    assert await ensure("IfNotPresent", mine) == "sha256:1", "nobody's failure takes it from who has it"


async def test_an_image_from_an_archive_is_everybodys(tmp_path: Path) -> None:
    registry = Registry("right")
    registry.here = True
    images = Images(registry, records=PullRecords(tmp_path))  # type: ignore[arg-type]
    for policy in ("Never", "IfNotPresent"):
        assert (await images.ensure("u", "shop:1", policy, [], lambda *event: None)).id == "sha256:1"
    unreadable = secret({"docker.io": {"auth": "***"}})
    assert (await images.ensure("u", "shop:1", "IfNotPresent", [unreadable], lambda *event: None)).id == "sha256:1"
    with pytest.raises(ImageProblem, match="pull secret default/s"):
        await images.ensure("u", "shop:1", "Always", [unreadable], lambda *event: None)
    assert registry.pulls == []


async def test_a_pull_that_was_interrupted_by_a_crash(tmp_path: Path) -> None:
    registry = Registry()
    registry.away = False
    await PullRecords(tmp_path).begin("shop:1")

    async def list_images() -> list[Image]:
        return [Image("sha256:1", ("docker.io/library/shop:1",), (), 5)]

    registry.list_images = list_images  # type: ignore[attr-defined]
    images = Images(registry, records=PullRecords(tmp_path))  # type: ignore[arg-type]
    await images.recover()
    await images.ensure("u", "shop:1", "IfNotPresent", [secret({"r": login("x")})], lambda *event: None)
    assert len(registry.pulls) == 1, "who was to have it is not known, so it is asked for once more"
    await images.ensure("u", "shop:1", "IfNotPresent", [], lambda *event: None)
    assert len(registry.pulls) == 1


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Shop:1", "invalid reference format: repository name must be lowercase"),
        ("shop:!", "invalid reference format"),
        ("", "invalid reference format"),
        ("a/" * 130 + "b", "repository name must not be more than 255 characters"),
    ],
)
def test_names_that_are_none(name: str, why: str) -> None:
    with pytest.raises(InvalidName) as invalid:
        full_name(name)
    assert str(invalid.value) == f'Failed to apply default image tag "{name}": couldn\'t parse image name "{name}": {why}'


def test_durations_as_go_prints_them() -> None:
    shown = [took(seconds) for seconds in (0, 0.0837, 1, 1.5, 59.9996, 60, 123.04, 3600, 3725.5)]
    assert shown == ["0s", "83ms", "1s", "1.5s", "59.999s", "1m0s", "2m3.04s", "1h0m0s", "1h2m5.5s"]


def test_errors_of_the_runtime_that_have_a_name() -> None:
    assert error_of("shop:1", "RegistryUnavailable: try later") == (
        "RegistryUnavailable",
        "image pull failed for shop:1 because the registry is unavailable: try later",
    )
    assert error_of("shop:1", "x") == ("ErrImagePull", "x")


async def test_a_long_pull_says_how_far_it_is(autojump_clock: MockClock) -> None:
    registry, told = Registry(), []
    registry.away, registry.seconds = False, 100.0

    async def writes() -> list[Write]:
        return [
            Write("layer-sha256:1", int(trio.current_time()) << 20, 100 << 20),
            Write("layer-sha256:2", 0, 20 << 20),
            Write("edgekube-import-1", 5, 5),
        ]

    registry.writes = writes  # type: ignore[method-assign]
    images = Images(registry)  # type: ignore[arg-type]
    await images.ensure("u", "shop:1", "Always", [], lambda *event: told.append(event[2]))
    assert [message.partition(" after ")[2] for message in told[1:-1]] == [
        "15s: 15.0 of 120.0 MiB in 2 layers under way",
        "30s: 30.0 of 120.0 MiB in 2 layers under way",
        "60s: 60.0 of 120.0 MiB in 2 layers under way",
    ]
    assert told[1].startswith('Still pulling image "shop:1" after')
