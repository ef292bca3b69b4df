"""Comprehensions as Python loops: the quantifiers, and the general form for the rest.

Enters: a Comprehension of api.cel.macros.
Leaves: its step.
Holds: all() and exists() remember an error and go on, since another element may decide; everything else ends with the first
    error.
Bound: the limit is looked at in each round.
Source: cel-go interpreter/interpretable.go (evalFold) and the expansions in api.cel.macros, from which the costs follow.
Next: api.cel.plan.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edgekube.api.cel.ast import Call, Comprehension, ListLiteral
from edgekube.api.cel.errors import CostExceeded, EvaluationError, no_such_overload
from edgekube.api.cel.macros import ACCUMULATOR, UNUSED
from edgekube.api.cel.plan import Frame, Planner, Step
from edgekube.api.cel.refusals import not_iterable
from edgekube.api.cel.values import Struct, of_key


def plan_comprehension(planner: Planner, node: Comprehension) -> Step:
    over = planner.plan(node.range)
    if node.variable == UNUSED:
        return _binding(planner, node, over)
    initial = planner.plan(node.initial)
    accumulator = planner.new_slot()
    names = {node.variable: planner.new_slot()}
    if node.second_variable:
        names[node.second_variable] = planner.new_slot()
    slots = list(names.values())
    planner.scopes.extend(({node.accumulator: accumulator}, names))
    quantifier = _is_quantifier(node)
    if quantifier:
        assert isinstance(node.step, Call)
        predicate = planner.plan(node.step.args[1])
    else:
        condition, step = planner.plan(node.condition), planner.plan(node.step)
    planner.scopes.pop()
    result = planner.plan(node.result)
    planner.scopes.pop()
    if quantifier:
        assert isinstance(node.step, Call)
        return _quantified(over, slots, predicate, decides=node.step.function == "_||_")
    appended = _appended(planner, node, names)
    if appended is not None:
        return _appending(over, slots, *appended)
    return _general(over, accumulator, slots, initial, condition, step, result)


def _is_quantifier(node: Comprehension) -> bool:
    return isinstance(node.condition, Call) and isinstance(node.step, Call) and node.step.function in ("_&&_", "_||_")


def _rounds(value: Any, two: bool) -> Iterable[Any]:
    """Elements or keys; with two variables pairs of index and element, or key and value."""
    if isinstance(value, list):
        return enumerate(value) if two else value
    if isinstance(value, (dict, Struct)):
        return [(of_key(key), value.get(key)) for key in value] if two else map(of_key, value)
    raise not_iterable(value)


def _quantified(over: Step, slots: list[int], predicate: Step, decides: bool) -> Step:
    two, first = len(slots) == 2, slots[0]
    # The condition is read before each round (2 for all, 3 for exists), the accumulator once in each and once at the end.
    looking = 3 if decides else 2

    def step(frame: Frame) -> Any:
        values, failed, decided = frame.slots, None, False
        for one in _rounds(over(frame), two):
            frame.cost += looking
            if decided:
                break
            frame.cost += 1
            if two:
                values[first], values[slots[1]] = one
            else:
                values[first] = one
            try:
                found = predicate(frame)
            except EvaluationError as error:
                failed = failed or error
                continue
            if frame.cost > frame.limit:
                raise CostExceeded
            if found is decides:
                decided = True
            elif found is not (not decides):
                failed = failed or no_such_overload()
        frame.cost += 1
        if decided:
            return decides
        if failed is not None:
            raise failed
        return not decides

    return step


def _appended(planner: Planner, node: Comprehension, names: dict[str, int]) -> tuple[Step, Step | None] | None:
    """For map(), filter() and transformList(): what is appended, and under which condition."""
    step = node.step
    if not (isinstance(node.initial, ListLiteral) and isinstance(step, Call) and node.accumulator == ACCUMULATOR):
        return None
    condition = None
    planner.scopes.append(names)
    if step.function == "_?_:_":
        condition = planner.plan(step.args[0])
        step = step.args[1]
    assert isinstance(step, Call) and isinstance(step.args[1], ListLiteral), "map and filter append a list of one"
    appended = planner.plan(step.args[1].elements[0])
    planner.scopes.pop()
    return appended, condition


def _appending(over: Step, slots: list[int], element: Step, condition: Step | None) -> Step:
    """The list grows in place; cel-go's cost of ``accumulator + [element]`` is 12: variable, list, sum."""

    two, first = len(slots) == 2, slots[0]

    def step(frame: Frame) -> Any:
        values, made = frame.slots, []
        for one in _rounds(over(frame), two):
            if two:
                values[first], values[slots[1]] = one
            else:
                values[first] = one
            if condition is not None:
                kept = condition(frame)
                if kept is False:
                    continue
                if kept is not True:
                    raise no_such_overload()
            made.append(element(frame))
            frame.cost += 12
            if frame.cost > frame.limit:
                raise CostExceeded
        frame.cost += 1
        return made

    return step


def _general(over: Step, accumulator: int, slots: list[int], initial: Step, condition: Step, body: Step, result: Step) -> Step:
    two, first = len(slots) == 2, slots[0]

    def step(frame: Frame) -> Any:
        values = frame.slots
        rounds = _rounds(over(frame), two)
        begun = initial(frame)
        # Maps grow in place, so a constant must not be the one.
        values[accumulator] = dict(begun) if type(begun) is dict else begun
        for one in rounds:
            if two:
                values[first], values[slots[1]] = one
            else:
                values[first] = one
            if condition(frame) is False:
                break
            values[accumulator] = body(frame)
            if frame.cost > frame.limit:
                raise CostExceeded
        return result(frame)

    return step


def _binding(planner: Planner, node: Comprehension, over: Step) -> Step:
    """A loop of no rounds, which only gives a value a name (optMap)."""
    initial = planner.plan(node.initial)
    slot = planner.new_slot()
    planner.scopes.append({node.accumulator: slot})
    result = planner.plan(node.result)
    planner.scopes.pop()

    def step(frame: Frame) -> Any:
        over(frame)
        frame.slots[slot] = initial(frame)
        return result(frame)

    return step
