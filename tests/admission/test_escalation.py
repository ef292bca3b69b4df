"""Which permissions cover which."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgekube.admission.attributes import Attributes
from edgekube.admission.escalation import not_held
from edgekube.admission.rbac import Rule
from edgekube.api.verbs import UserInfo

_VERBS, _GROUPS = st.sampled_from(["get", "list", "create", "*"]), st.sampled_from(["", "apps", "*"])
_RESOURCES = st.sampled_from(["pods", "pods/log", "secrets", "*/log", "*"])
_NAMES, _PATHS = st.sampled_from(["a", "b"]), st.sampled_from(["/metrics", "/api/*", "/api/v1", "*"])


def _sets(values: st.SearchStrategy[str]) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(values, min_size=1, max_size=2)


RULES = st.one_of(
    st.builds(Rule, _sets(_VERBS), _sets(_GROUPS), _sets(_RESOURCES), st.frozensets(_NAMES, max_size=2), st.just(())),
    st.builds(
        lambda verbs, paths: Rule(verbs, frozenset(), frozenset(), frozenset(), tuple(sorted(paths))),
        _sets(_VERBS),
        _sets(_PATHS),
    ),
)
REQUESTS = [
    *(
        Attributes(UserInfo("u"), verb, group, "v1", resource, subresource, name=name)
        for verb in ("get", "list", "create", "delete")
        for group in ("", "apps", "batch")
        for resource, subresource in (("pods", ""), ("pods", "log"), ("secrets", ""), ("nodes", "log"))
        for name in ("", "a", "b", "c")
    ),
    *(Attributes(UserInfo("u"), verb, path=path) for verb in ("get", "post") for path in ("/metrics", "/api/v1", "/api/x", "/y")),
]


@given(st.lists(RULES, max_size=4), st.lists(RULES, max_size=3))
def test_what_is_covered_allows_nothing_new(held: list[Rule], wanted: list[Rule]) -> None:
    if not not_held(held, wanted):
        for asked in REQUESTS:
            assert any(rule.allows(asked) for rule in held) or not any(rule.allows(asked) for rule in wanted)


@given(st.lists(RULES, min_size=1, max_size=4))
def test_what_one_has_is_covered(held: list[Rule]) -> None:
    assert not_held(held, held) == []
