"""Label selectors: matched, explained, said again."""

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.api.errors import StatusError
from edgekube.api.selectors.label_text import parse_label_selector
from edgekube.api.selectors.labels import label_selector_of, label_selector_of_set


def said(text: str) -> str:
    with pytest.raises(StatusError) as caught:
        parse_label_selector(text)
    assert caught.value.code == 400
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ("", {}, True),
        ("a=b", {"a": "b"}, True), ("a==b", {"a": "b"}, True), ("a=b", {}, False), ("a=", {"a": ""}, True),
        ("a!=b", {}, True), ("a!=b", {"a": "b"}, False), ("a!=b", {"a": "c"}, True),
        ("a in (b,c)", {"a": "c"}, True), ("a in (b,c)", {"a": "d"}, False), ("a in ()", {"a": ""}, True),
        ("a in (b,)", {"a": ""}, True),
        ("a notin (b,c)", {}, True), ("a notin (b, c)", {"a": "b"}, False),
        ("a", {"a": ""}, True), ("a", {}, False), ("!a", {}, True), ("!a", {"a": "x"}, False), (" ! a ", {}, True),
        ("n>3", {"n": "4"}, True), ("n>3", {"n": "3"}, False), ("n<3", {"n": "-1"}, True), ("n<3", {"n": "x"}, False),
        ("n<3", {}, False),
        ("a=b,c", {"a": "b", "c": ""}, True), ("a=b,c", {"a": "b"}, False),
        ("in in (in,notin)", {"in": "notin"}, True), ("example.com/tier=web", {"example.com/tier": "web"}, True),
    ],
)  # fmt: skip
def test_label_selectors_match(text: str, labels: dict[str, str], matches: bool) -> None:
    selector = parse_label_selector(text)
    assert selector.matches(labels) is matches
    assert selector.matches_raw(orjson.dumps({"spec": {"x": [1]}, "metadata": {"name": "n", "labels": labels}})) is matches


def test_bad_label_selectors_are_explained() -> None:
    assert said("a=b=c") == "found '=', expected: ',' or 'end of string'"
    assert said("a,") == "found '', expected: identifier after ','"
    assert said(",a") == "found ',', expected: !, identifier, or 'end of string'"
    assert said("a b") == "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"
    assert said("a in b") == "unable to parse requirement: found 'b' expected: '('"
    assert said("a in (b") == "unable to parse requirement: found '', expected: ',' or ')'"
    assert said("a=b c") == "found 'c', expected: ',' or 'end of string'"
    assert said("!").startswith("unable to parse requirement: found ''")
    assert said("a>x").startswith("unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators")
    assert said("-a").startswith('unable to parse requirement: <nil>: Invalid value: "-a": name part must consist of')
    assert said("a=-").startswith('unable to parse requirement: values[0][a]: Invalid value: "-": a valid label must be')


def test_a_selector_says_what_it_is() -> None:
    assert parse_label_selector("").everything
    assert str(parse_label_selector("b!=c,a in (z,y),!d,e>1,f")) == "a in (y,z),b!=c,!d,e>1,f"
    assert parse_label_selector("a in (b)").exact("a") == "b"
    assert parse_label_selector("a in (b,c)").exact("a") is None


def test_specs_carry_selectors_as_objects() -> None:
    selector = label_selector_of(
        {
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "NotIn", "values": ["db"]},
                {"key": "x", "operator": "DoesNotExist"},
            ],
        }
    )
    assert selector.matches({"app": "web"})
    assert not selector.matches({"app": "web", "tier": "db"})
    assert not selector.matches({"app": "web", "x": ""})
    assert label_selector_of({}).everything
    assert not label_selector_of(None).matches({}) and not label_selector_of(None).matches_raw(b"{}")
    with pytest.raises(ValueError, match='"Near" is not a valid label selector operator'):
        label_selector_of({"matchExpressions": [{"key": "a", "operator": "Near"}]})
    with pytest.raises(ValueError, match="values set can't be empty"):
        label_selector_of({"matchExpressions": [{"key": "a", "operator": "In"}]})
    assert label_selector_of_set({"a": "b"}).matches({"a": "b", "c": "d"})


_WORD = st.text("abz019", min_size=1, max_size=4)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(_WORD, _WORD, max_size=3), st.dictionaries(_WORD, _WORD, max_size=4))
def test_equality_selectors_are_subset_tests(wanted: dict[str, str], labels: dict[str, str]) -> None:
    text = ",".join(f"{key}={value}" for key, value in wanted.items())
    assert parse_label_selector(text).matches(labels) is (wanted.items() <= labels.items())


@settings(max_examples=200, deadline=None)
@given(st.text("ab=!(),<> in", max_size=12))
def test_any_text_is_parsed_or_refused_and_its_own_text_means_the_same(text: str) -> None:
    try:
        selector = parse_label_selector(text)
    except StatusError as error:
        assert error.reason == "BadRequest"
    else:
        assert parse_label_selector(str(selector)) == selector


_LABEL_KEYS = st.sampled_from(["a", "b", "name", "example.com/a"])
_LABEL_VALUES = st.sampled_from(["a", "b", "name", ""])


@given(
    wanted=st.dictionaries(_LABEL_KEYS, _LABEL_VALUES, max_size=3),
    labels=st.dictionaries(_LABEL_KEYS, _LABEL_VALUES, max_size=3),
    elsewhere=st.dictionaries(_LABEL_KEYS, _LABEL_VALUES),
)
def test_bytes_are_selected_as_objects_are(wanted: dict[str, str], labels: dict[str, str], elsewhere: dict[str, str]) -> None:
    selector = label_selector_of({"matchLabels": wanted})
    raw = orjson.dumps({"metadata": {"name": "name", "labels": labels, "annotations": elsewhere}, "data": elsewhere})
    assert selector.matches_raw(raw) is selector.matches(labels)
