"""What ``edgekube discover`` prints."""

from __future__ import annotations

import json

from msgspec.structs import replace

from edgekube.cli.discover import as_table, as_text
from edgekube.discovery.seen import Seen
from tests.discovery.test_announcement import PI


def lan() -> Seen:
    seen = Seen()
    seen.put("a", PI)
    seen.put("b", replace(PI, node="pi-9", role="agent", port=10250, addresses=("192.0.2.9",)))
    cellar = {"cluster_id": "00000000-0000-4000-8000-000000000000", "cluster_name": "cellar", "ca": "cd" * 32}
    seen.put("c", replace(PI, **cellar, node="nuc", addresses=("fe80::5%2",)))
    return seen


def test_one_line_a_machine_each_cluster_by_itself() -> None:
    assert as_table(lan()) == (
        "CLUSTER      ID         CA             ROLE     NODE   VERSION              ADDRESS\n"
        "cellar       00000000   cdcdcdcdcdcd   server   nuc    v1.36.0+edgekube.1   [fe80::5%2]:6443\n"
        "greenhouse   3fa2b1c9   abababababab   server   pi-7   v1.36.0+edgekube.1   192.0.2.7:6443, [2001:db8::7]:6443\n"
        "greenhouse   3fa2b1c9   abababababab   agent    pi-9   v1.36.0+edgekube.1   192.0.2.9:10250\n"
    )
    assert as_table(Seen()) == ""


def test_json_has_the_whole_fingerprint() -> None:
    clusters = json.loads(as_text(lan()))["clusters"]
    assert [cluster["name"] for cluster in clusters] == ["cellar", "greenhouse"]
    assert clusters[1] == {
        "id": PI.cluster_id,
        "name": "greenhouse",
        "ca": PI.ca,
        "nodes": [
            {"node": "pi-7", "role": "server", "version": PI.version, "addresses": list(PI.addresses), "port": 6443},
            {"node": "pi-9", "role": "agent", "version": PI.version, "addresses": ["192.0.2.9"], "port": 10250},
        ],
    }
