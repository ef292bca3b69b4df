"""Who has which device: choices, shares between containers of a pod, words of refusals, and the ledger on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from edgekube.agent.devices import checkpoint
from edgekube.agent.devices.ledger import Choice, Ledger, Offer
from edgekube.agent.devices.model import DeviceProblem, Given
from edgekube.api.objects import Object
from edgekube.containerd.model import Device, Mount

LAMP = "vendor.example/lamp"


def pod_of(*names: str, uid: str = "u1", init: tuple[Object, ...] = ()) -> Object:
    return {"metadata": {"uid": uid}, "spec": {"containers": [{"name": name} for name in names], "initContainers": list(init)}}


def ledger_of(*healthy: str, unhealthy: tuple[str, ...] = (), **held: set[str]) -> Ledger:
    """``held``: pod uid -> ids of its container "main"."""
    ledger = Ledger({LAMP: Offer(frozenset(healthy), frozenset(unhealthy))})
    for uid, ids in held.items():
        ledger.hold(uid, "main", LAMP, frozenset(ids), Given())
    return ledger


def chosen(ledger: Ledger, pod: Object, count: int, container: str = "main", preferred: tuple[str, ...] = ()) -> set[str]:
    choice = ledger.choose(pod, container, LAMP, count)
    assert choice is not None
    return set(choice.filled(preferred))


def test_free_devices_are_chosen_and_the_preferred_ones_first() -> None:
    ledger = ledger_of("a", "b", "c", "d", other={"a"})
    assert chosen(ledger, pod_of("main"), 2) == {"b", "c"}
    assert chosen(ledger, pod_of("main"), 2, preferred=("d", "a", "z")) == {"b", "d"}
    assert ledger.capacity() == {LAMP: 4}


@pytest.mark.parametrize(
    ("ledger", "count", "words"),
    [
        (Ledger(), 1, f"cannot allocate unregistered device {LAMP}"),
        (ledger_of(unhealthy=("a",)), 1, f"no healthy devices present; cannot allocate unhealthy devices {LAMP}"),
        (
            ledger_of("a", "b", other={"a"}),
            2,
            f"requested number of devices unavailable for {LAMP}. Requested: 2, Available: 1",
        ),
        (
            ledger_of("b", unhealthy=("a",), u1={"a"}),
            1,
            f"previously allocated devices are no longer healthy; cannot allocate unhealthy devices {LAMP}",
        ),
        (
            ledger_of("a", "b", u1={"a"}),
            2,
            f'pod "u1" container "main" changed request for resource "{LAMP}" from 1 to 2',
        ),
    ],
)
def test_refusals_have_the_kubelets_words(ledger: Ledger, count: int, words: str) -> None:
    with pytest.raises(DeviceProblem) as problem:
        ledger.choose(pod_of("main"), "main", LAMP, count)
    assert str(problem.value) == words


def test_a_container_that_has_its_devices_is_given_no_others() -> None:
    ledger = ledger_of("a", "b", u1={"a"})
    assert ledger.choose(pod_of("main"), "main", LAMP, 1) is None
    ledger.ready(pod_of("main"), "main", {LAMP: 1})
    # After a boot its plugin is not there yet: it keeps what it has, and waits for it.
    ledger.offers[LAMP] = Offer(present=False)
    assert ledger.choose(pod_of("main"), "main", LAMP, 1) is None
    with pytest.raises(DeviceProblem, match="has not registered yet"):
        ledger.ready(pod_of("main"), "main", {LAMP: 1})


def test_containers_take_over_from_init_containers_that_are_over() -> None:
    sidecar = {"name": "helper", "restartPolicy": "Always"}
    pod = pod_of("main", "second", init=({"name": "setup"}, sidecar))
    ledger = ledger_of("a", "b", "c")
    for name, expected in (("setup", {"a"}), ("helper", {"a"}), ("main", {"b"}), ("second", {"c"})):
        choice = ledger.choose(pod, name, LAMP, 1)
        assert choice is not None and choice.filled() == expected
        ledger.hold("u1", name, LAMP, choice.filled(), Given())
    # Without a sidecar in between, what the init container had goes to the first that asks.
    plain = pod_of("main", "second", init=({"name": "setup"},))
    ledger = ledger_of("a", "b", "c")
    ledger.hold("u1", "setup", LAMP, frozenset({"a", "b"}), Given())
    assert chosen(ledger, plain, 1) == {"a"}
    ledger.hold("u1", "main", LAMP, frozenset({"a"}), Given())
    assert chosen(ledger, plain, 2, "second") == {"b", "c"}


def test_amounts_of_the_node() -> None:
    ledger = ledger_of("a", "b", unhealthy=("c",), gone={"c"}, here={"a"})
    assert (ledger.capacity(), ledger.allocatable()) == ({LAMP: 3}, {LAMP: 2})
    assert ledger.amounts_held() == {LAMP: 2}
    assert ledger.keep_only({"here"}) and not ledger.keep_only({"here"})
    assert ledger.amounts_held() == {LAMP: 1}
    ledger.offers[LAMP] = ledger.offers[LAMP].gone()
    assert (ledger.capacity(), ledger.allocatable()) == ({LAMP: 3}, {LAMP: 0})
    assert ledger.release("here") and not ledger.release("here")


def test_what_several_resources_give_is_joined() -> None:
    ledger = Ledger()
    first = Given({"A": "1", "B": "1"}, (Mount("/m", "/x"),), (Device("/dev/a", "/dev/a"),), {"k": "1"}, ("v/c=1",))
    second = Given({"B": "2"}, (Mount("/m", "/y"), Mount("/n", "/z")), (), {}, ("v/c=1", "v/c=2"))
    ledger.hold("u1", "main", "a.example/x", frozenset({"1"}), first)
    ledger.hold("u1", "main", "b.example/x", frozenset({"1"}), second)
    made = ledger.given("u1", "main")
    assert dict(made.env) == {"A": "1", "B": "1"}
    assert {mount.container_path: mount.host_path for mount in made.mounts} == {"/m": "/x", "/n": "/z"}
    assert made.cdi_devices == ("v/c=1", "v/c=2")
    assert ledger.given("u1", "other") == Given()


@drawn(st.lists(st.tuples(st.sampled_from(["p", "q", "r"]), st.sampled_from(["x", "y"]), st.integers(1, 3)), max_size=20))
def test_no_device_is_held_twice(asked: list[tuple[str, str, int]]) -> None:
    ledger = ledger_of("a", "b", "c", "d", "e")
    for uid, container, count in asked:
        try:
            choice: Choice | None = ledger.choose(pod_of("x", "y", uid=uid), container, LAMP, count)
        except DeviceProblem:
            continue
        if choice is not None:
            assert len(choice.filled()) == count
            ledger.hold(uid, container, LAMP, choice.filled(), Given())
    ids = [name for containers in ledger.held.values() for of in containers.values() for name in of[LAMP].ids]
    assert len(ids) == len(set(ids))
    assert checkpoint.unpacked(checkpoint.packed(ledger)).held == ledger.held


def test_the_ledger_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "device" / "devices.json"
    ledger = ledger_of("a", given_up={"a"})
    ledger.given_up.add("vendor.example/gone")
    full = Given({"A": "secret"}, (Mount("/m", "/x", readonly=True),), (Device("/dev/a", "/dev/b", "r"),), {"k": "v"}, ("v/c=1",))
    ledger.hold("u1", "main", LAMP, frozenset({"a"}), full)
    checkpoint.write(path, checkpoint.packed(ledger))
    again = checkpoint.read(path)
    assert (again.held, again.given_up) == (ledger.held, ledger.given_up)
    # Nobody answers for its resources yet.
    assert again.offers == {LAMP: Offer(present=False)}
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"resources": ["a"], "given_up": [], "pods": {"u": {"c": {"r": {}}}}}'])
def test_a_file_that_is_not_a_ledger_is_put_aside(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "devices.json"
    path.write_bytes(raw)
    assert checkpoint.read(path) == Ledger()
    assert not path.exists() and path.with_name("devices.json.unreadable").read_bytes() == raw


def test_a_missing_file_is_an_empty_ledger(tmp_path: Path) -> None:
    assert checkpoint.read(tmp_path / "devices.json") == Ledger()
