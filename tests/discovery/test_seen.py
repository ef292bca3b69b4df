"""What was heard is bounded, and a flood does not drown who was honest."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from edgekube.discovery.announcement import Announcement, Role
from edgekube.discovery.seen import Seen
from tests.discovery.test_announcement import PI


def machine(number: int, cluster: int = 0, role: Role = "agent") -> Announcement:
    cluster_id = f"{cluster:08x}-0000-4000-8000-000000000000"
    return replace(PI, node=f"n{number}", cluster_id=cluster_id, role=role, addresses=(f"10.0.0.{number % 256}",))


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 6), st.booleans()), max_size=200))
def test_it_never_holds_more_than_it_may_and_forgets_nothing_needlessly(steps: list[tuple[int, int, bool]]) -> None:
    seen = Seen(instances_max=20, per_cluster_max=8)
    model: dict[str, Announcement] = {}
    for number, cluster, leaves in steps:
        instance = f"i{number}"
        if leaves:
            seen.remove(instance)
            model.pop(instance, None)
        else:
            seen.put(instance, machine(number, cluster))
            model[instance] = machine(number, cluster)
        held = list(seen)
        assert len(held) == len(seen) <= 20
        assert all(len(each) <= 8 for each in seen.clusters().values())
        assert set(held) <= set(model.values())
        if not seen.gave_way:
            assert set(held) == set(model.values())


def test_a_flood_under_other_names_leaves_the_honest_cluster_whole() -> None:
    seen = Seen(instances_max=100, per_cluster_max=50)
    for number in range(10):
        seen.put(f"honest-{number}", machine(number, cluster=1))
    for number in range(5000):
        seen.put(f"bogus-{number}", machine(number, cluster=2))
    assert len(seen.clusters()[machine(0, cluster=1).cluster]) == 10
    assert len(seen) == 60 and seen.gave_way == 4950


def test_a_flood_of_clusters_keeps_a_sample_that_nobody_outside_can_choose() -> None:
    kept = set()
    for _ in range(40):
        seen = Seen(instances_max=50, per_cluster_max=50)
        for number in range(100):
            seen.put(f"bogus-{number}", machine(number, cluster=number))
        kept.add("bogus-0" in {f"bogus-{announcement.node[1:]}" for announcement in seen})
    assert kept == {True, False}


def test_only_what_is_wanted_is_kept_and_a_change_of_mind_is_followed() -> None:
    seen = Seen(lambda announcement: announcement.role == "server")
    assert seen.put("a", machine(1, role="server"))
    assert not seen.put("a", machine(1, role="server"))
    assert not seen.put("b", machine(2))
    assert seen.put("a", machine(1))
    assert not list(seen)


def test_clusters_are_told_apart_by_authority_and_servers_come_first() -> None:
    seen = Seen()
    seen.put("a", machine(2))
    seen.put("b", machine(1, role="server"))
    seen.put("c", replace(machine(3, role="server"), ca="cd" * 32))
    clusters = list(seen.clusters().values())
    assert [[announcement.node for announcement in each] for each in clusters] == [["n1", "n2"], ["n3"]]
