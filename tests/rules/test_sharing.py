"""Whoever starts a containerd of this machine takes turns with the others (tests/sharing.py)."""

from __future__ import annotations

from pathlib import Path

from tests.sharing import unit_of

TESTS = Path(__file__).resolve().parents[1]


def test_modules_with_a_containerd_of_this_machine_are_one_unit() -> None:
    starting = [path for path in (TESTS / "agent").rglob("test_*.py") if "node: Node" in path.read_text()]
    assert len(starting) > 5
    apart = [str(path) for path in starting if unit_of(f"tests/{path.relative_to(TESTS)}::test_x") != "tests/containerd/"]
    assert not apart, "name them in tests.sharing"
