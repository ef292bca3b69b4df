"""A switch for the tests of the lab itself; no test of this folder starts edgekube."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.booting import fresh_prefix
from tests.lab.guest import Guest
from tests.lab.lan import Lan

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.root)


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    with Lan(fresh_prefix()) as lan:
        yield lan


@pytest.fixture(scope="module")
def three(lan: Lan) -> Iterator[tuple[Guest, Guest, Guest]]:
    """a, b and c on one switch."""
    places = [Guest(lan, name, f"192.0.2.{number}") for number, name in enumerate("abc", 1)]
    yield places[0], places[1], places[2]
    for place in places:
        place.close()
