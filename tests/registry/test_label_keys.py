"""matchLabelKeys and mismatchLabelKeys of a new pod."""

from __future__ import annotations

from edgekube.api.objects import Object
from edgekube.registry.strategies.pods import merge_label_keys


def test_label_keys_become_requirements() -> None:
    term: Object = {
        "topologyKey": "zone",
        "labelSelector": {"matchLabels": {"app": "web"}},
        "matchLabelKeys": ["rev", "absent"],
        "mismatchLabelKeys": ["tenant"],
    }
    blind: Object = {"topologyKey": "zone", "matchLabelKeys": ["rev"]}
    spread: Object = {"topologyKey": "zone", "labelSelector": {}, "matchLabelKeys": ["rev"]}
    pod: Object = {
        "metadata": {"labels": {"rev": "1", "tenant": "x"}},
        "spec": {
            "affinity": {
                "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]},
                "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": blind}]},
            },
            "topologySpreadConstraints": [spread],
        },
    }
    merge_label_keys(pod)
    assert term["labelSelector"] == {
        "matchLabels": {"app": "web"},
        "matchExpressions": [
            {"key": "rev", "operator": "In", "values": ["1"]},
            {"key": "tenant", "operator": "NotIn", "values": ["x"]},
        ],
    }
    assert "labelSelector" not in blind, "without a selector it is about no pod at all"
    assert spread["labelSelector"] == {"matchExpressions": [{"key": "rev", "operator": "In", "values": ["1"]}]}
