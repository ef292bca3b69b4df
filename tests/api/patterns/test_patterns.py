"""Patterns match as Go's regexp does, refuse what it refuses, and never take longer than the text deserves."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.api import patterns

#: What Go's own regexp answered for these patterns and texts.
GO = json.loads(Path(__file__).with_name("go.json").read_text())


def test_go_finds_the_same() -> None:
    for case in GO:
        if "error" in case:
            with pytest.raises(patterns.PatternError) as caught:
                patterns.compile_pattern(case["pattern"])
            assert str(caught.value) == case["error"]
            continue
        pattern, text, found = patterns.compile_pattern(case["pattern"]), case["text"], case["found"]
        assert pattern.find_all(text) == found, case
        assert pattern.matches(text) is bool(found), case
        assert pattern.find(text) == (found[0] if found else None), case


_PIECES = st.sampled_from(
    ["a", "b", "c", "[ab]", "[^a]", "(?:ab|a)", "(?:a|b)*", "(?:bc)+", "a{1,2}", "b?", "c*?", "^", "$", "."]
)


@given(st.lists(_PIECES, max_size=6).map("".join), st.text("abc", max_size=10))
def test_python_agrees_where_both_languages_are_the_same(pattern: str, text: str) -> None:
    found = re.compile(pattern).search(text)
    assert patterns.Pattern(pattern).find(text) == (found.group() if found is not None else None)


def test_what_backtracks_elsewhere_is_linear_here() -> None:
    pattern = patterns.compile_pattern("^(a+)+$")
    assert pattern.matches("a" * 100_000)
    assert not pattern.matches("a" * 100_000 + "b")


def test_work_is_bounded_even_where_states_are_many() -> None:
    pattern = patterns.compile_pattern("(?:a|b)*a(?:a|b){900}c")
    text = "".join(random.Random(1).choices("ab", k=20_000))
    with pytest.raises(patterns.PatternError, match="too many steps"):
        pattern.matches(text)


def test_a_pattern_and_its_parts_are_bounded() -> None:
    for text in ("(" * 200 + ")" * 200, "(?:a{1000}){2}", "a" * 40_000):
        with pytest.raises(patterns.PatternError):
            patterns.compile_pattern(text)
