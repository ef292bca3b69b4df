"""Loading modules without the collector."""

from __future__ import annotations

import gc

import pytest

from edgekube.loading import loading


def test_the_collector_rests_while_modules_are_loaded_and_runs_again_after_a_failure() -> None:
    with loading():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ImportError), loading():
        raise ImportError("no such module")
    assert gc.isenabled()
