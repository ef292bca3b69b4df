"""Which cluster is meant, and where to knock first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from edgekube.discovery.announcement import Announcement
from edgekube.discovery.servers import SeveralClusters, found, is_meant, the_one
from tests.discovery.test_announcement import PI

PRETENDER = replace(PI, node="rogue", ca="ee" * 32, addresses=("192.0.2.66",))
CELLAR = replace(
    PI, cluster_id="00000000-0000-4000-8000-000000000000", cluster_name="Cellar", ca="cd" * 32, addresses=("192.0.2.9",)
)


def test_servers_of_one_cluster_are_its_addresses_in_turn() -> None:
    second = replace(PI, node="pi-8", addresses=("192.0.2.8",), port=7443)
    agent = replace(PI, node="pi-9", role="agent", addresses=("192.0.2.10",))
    cluster = the_one(found([second, agent, PI]))
    assert cluster is not None
    assert (cluster.id, cluster.name, cluster.ca) == (PI.cluster_id, "greenhouse", PI.ca)
    assert cluster.addresses == (("192.0.2.7", 6443), ("192.0.2.8", 7443), ("2001:db8::7", 6443))


def test_without_anybody_there_is_none_yet() -> None:
    assert the_one(found([])) is None
    assert the_one(found([PI], "cellar")) is None


def test_of_several_none_is_chosen() -> None:
    with pytest.raises(SeveralClusters) as caught:
        the_one(found([CELLAR, PI]))
    assert str(caught.value).splitlines()[1:] == [
        "  --cluster cdcdcdcdcdcdcdcd   Cellar, id 00000000-0000-4000-8000-000000000000",
        "  --cluster abababababababab   greenhouse, id 3fa2b1c9-0d7e-4a51-9c0b-2f8f6a1f0a11",
    ]


@pytest.mark.parametrize("wanted", [PI.cluster_id, "greenhouse", "GREENHOUSE"])
def test_a_pretender_is_another_cluster_whatever_he_calls_himself(wanted: str) -> None:
    assert the_one(found([PI, CELLAR], wanted)) is not None
    with pytest.raises(SeveralClusters):
        the_one(found([PI, CELLAR, PRETENDER], wanted))
    chosen = the_one(found([PI, CELLAR, PRETENDER], PI.ca[:16]))
    assert chosen is not None and chosen.ca == PI.ca


@pytest.mark.parametrize("wanted", ["abababa", "ab" * 33, "zz" * 8, "green", PI.cluster_id[:8] + "-"])
def test_a_word_that_could_mean_much_means_nothing(wanted: str) -> None:
    assert not is_meant(wanted, PI.cluster_id, PI.cluster_name, PI.ca)


announcements = st.builds(
    replace,
    st.just(PI),
    node=st.sampled_from(["a", "b", "c"]),
    role=st.sampled_from(["server", "agent"]),
    cluster_name=st.sampled_from(["x", "y"]),
    ca=st.sampled_from(["ab" * 32, "cd" * 32]),
    addresses=st.lists(st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1"]), min_size=1, max_size=3).map(tuple),
)


@given(st.lists(announcements, max_size=8), st.sampled_from(["", "x", "ab" * 8]))
def test_each_address_that_is_offered_was_announced_by_a_server_that_is_meant(heard: list[Announcement], wanted: str) -> None:
    for cluster in found(heard, wanted):
        meant = [a for a in heard if a.role == "server" and a.ca == cluster.ca]
        meant = [a for a in meant if is_meant(wanted, a.cluster_id, a.cluster_name, a.ca)]
        assert set(cluster.addresses) == {(address, a.port) for a in meant for address in a.addresses}
        assert len(set(cluster.addresses)) == len(cluster.addresses)
