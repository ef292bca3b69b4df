"""Faults as nft text: who does not hear whom."""

from __future__ import annotations

import pytest

from tests.lab import faults
from tests.lab.faults import Drop


def test_one_way_between_two() -> None:
    assert Drop("a", "b").rules() == ['forward iifname "p-a" oifname "p-b" drop']


def test_from_anybody_is_from_the_switch_and_beyond_too() -> None:
    assert Drop(None, "b").rules() == ['forward oifname "p-b" drop', 'output oifname "p-b" drop']


def test_to_anybody_with_loss() -> None:
    assert Drop("a", None, 20).rules() == [
        'forward iifname "p-a" numgen random mod 100 < 20 drop',
        'input iifname "p-a" numgen random mod 100 < 20 drop',
    ]


def test_a_drop_has_an_end() -> None:
    with pytest.raises(ValueError, match="one end"):
        Drop(None, None).rules()


def test_no_faults_are_three_empty_chains() -> None:
    assert "drop" not in faults.table([])
    assert faults.table([Drop("a", "b")]).startswith(faults.table([]).rstrip("\n"))
