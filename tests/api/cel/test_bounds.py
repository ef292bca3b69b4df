"""What a client can write and feed in ends within its bound, in time and in memory."""

from __future__ import annotations

import pytest

from edgekube.api import cel

ENVIRONMENT = cel.Environment({"d": cel.DYN, "l": cel.list_of(cel.INT), "s": cel.STRING})
LARGE = {"d": {"s": "x" * 1_000_000, "l": list(range(50_000))}, "l": list(range(50_000)), "s": "x" * 1_000_000}


@pytest.mark.parametrize(
    "text",
    [
        "l.all(x, l.all(y, x + y >= 0))",
        "l.map(x, l + l).size() > 0",
        "l.map(x, d.s + d.s).size() > 0",
        "l.map(x, d.l + d.l).size() > 0",
        "s.replace('', s) == s",
        "s.split('').join(s) == s",
        "s.matches(s)",
        "l.map(x, s).join('') == s",
        "s.contains(s) && s.contains(s + s) && s.contains(s)",
        "l.sort() == l && l.distinct() == l && lists.range(900000).sort().size() > 1",
    ],
)
def test_an_evaluation_ends_at_its_limit(text: str) -> None:
    with pytest.raises(cel.CostExceeded):
        ENVIRONMENT.compile(text).evaluate(LARGE)


def test_growing_a_list_or_a_map_is_linear() -> None:
    program = ENVIRONMENT.compile("l.transformList(i, v, v).size() + lists.range(9000).transformMap(i, v, v).size()")
    assert program.evaluate({**LARGE, "l": list(range(40_000))}) == 49_000


def test_a_map_that_grows_is_not_the_constant_it_began_as() -> None:
    program = ENVIRONMENT.compile("l.transformMap(i, v, v)")
    assert program.evaluate({**LARGE, "l": [7]}) == {0: 7}
    assert program.evaluate({**LARGE, "l": []}) == {}


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5000 + "1" + ")" * 5000,
        "[" * 5000,
        "!" * 5001 + "(" * 200 + "true",
        "-" * 5001 + "(" * 200 + "1",
        " + ".join(["1"] * 5000),
        "d" + ".a" * 5000,
        "d" + "[0]" * 5000,
        "d" + ".f()" * 5000,
        "true ? " * 5000,
        "a" * 100_001,
    ],
)
def test_what_is_nested_too_deeply_is_refused(text: str) -> None:
    with pytest.raises(cel.CompileError):
        ENVIRONMENT.compile(text)


def test_long_chains_of_and_and_or_are_balanced() -> None:
    text = " && ".join(["l.size() > 0"] * 3000) + " || " + " || ".join(["false"] * 3000)
    assert ENVIRONMENT.compile(text).evaluate(LARGE) is True
