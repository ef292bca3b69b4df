"""Late words about pods that a node has taken down."""

from __future__ import annotations

from edgekube.agent.departed import Departed


def test_what_is_told_of_a_pod_that_left_is_no_news_until_the_api_says_that_it_is_gone() -> None:
    departed = Departed()
    assert "a" not in departed
    departed.left("a")
    departed.left("b")
    assert "a" in departed and "b" in departed
    departed.deleted("a")
    departed.deleted("never heard of")
    assert "a" not in departed and "b" in departed


def test_a_list_says_who_is_still_there() -> None:
    departed = Departed()
    for uid in ("gone", "has a finalizer"):
        departed.left(uid)
    departed.listed({"has a finalizer", "another"})
    assert "gone" not in departed and "another" not in departed
    assert "has a finalizer" in departed
