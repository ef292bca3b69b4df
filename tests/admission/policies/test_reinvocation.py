"""Who has a second turn."""

from __future__ import annotations

from edgekube.admission.policies.reinvocation import Reinvocation, Turn


def turn(name: str) -> Turn:
    return (name, "binding", "", "")


def run(memory: Reinvocation, *steps: tuple[str, bool, bool], second: bool = False) -> list[str]:
    """(policy, changes the object, IfNeeded) each: the policies that had their turn."""
    had = []
    for name, changes, if_needed in steps:
        if not memory.has_turn(turn(name), second=second):
            continue
        had.append(name)
        if changes:
            memory.changed()
        memory.took_turn(turn(name), if_needed=if_needed)
    return had


def test_nothing_changed_nobody_again() -> None:
    memory = Reinvocation()
    steps = (("a", False, True), ("b", False, True))
    assert run(memory, *steps) == ["a", "b"]
    memory.left = b"1"
    memory.second_run(b"1")
    assert run(memory, *steps, second=True) == []


def test_who_was_before_the_change_and_wants_to_know() -> None:
    memory = Reinvocation()
    steps = (("a", True, True), ("never", True, False), ("b", True, True))
    run(memory, *steps)
    memory.left = b"1"
    memory.second_run(b"1")
    assert run(memory, ("a", False, True), *steps[1:], second=True) == ["a"]


def test_a_change_in_the_second_run_is_for_those_after_it() -> None:
    memory = Reinvocation()
    steps = (("a", True, True), ("never", True, False), ("b", True, True))
    run(memory, *steps)
    memory.left = b"1"
    memory.second_run(b"1")
    assert run(memory, *steps, second=True) == ["a", "b"]


def test_others_changed_the_object_after_all() -> None:
    memory = Reinvocation()
    steps = (("a", False, True), ("never", False, False), ("b", False, True))
    run(memory, *steps)
    memory.left = b"1"
    memory.second_run(b"2")
    assert run(memory, *steps, second=True) == ["a", "b"]
