"""Mutating policies run once, and again when something changed after them: which of them, the second time.

Enters: what became of each policy in a run of the mutating chain.
Leaves: whether a policy runs in the second run.
Holds: pure. A policy runs twice at most, and only with reinvocationPolicy IfNeeded, and only if the object changed after its turn
(source: k8s.io/apiserver pkg/admission/plugin/policy/mutating/reinvocationcontext.go).
Next: registry.policies; what is remembered between the runs lives in AdmissionRequest.memory.
"""

from __future__ import annotations

from msgspec import Struct, field

#: Policy, binding, namespace and name of the param.
Turn = tuple[str, str, str, str]


class Reinvocation(Struct):
    #: The object as the last turn of the first run left it.
    left: bytes = b""
    _had_turn: set[Turn] = field(default_factory=set)
    _again: set[Turn] = field(default_factory=set)

    def second_run(self, now: bytes) -> None:
        """Others changed the object since: whoever had a turn has one more."""
        if now != self.left:
            self.changed()

    def has_turn(self, turn: Turn, *, second: bool) -> bool:
        return not second or turn in self._again

    def changed(self) -> None:
        """A turn changed the object: all that were before it shall see that."""
        self._again |= self._had_turn
        self._had_turn.clear()

    def took_turn(self, turn: Turn, *, if_needed: bool) -> None:
        if if_needed:
            self._had_turn.add(turn)
