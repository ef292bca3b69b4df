"""The whole run in several processes (tests/run): what runs beside what is decided in tests.sharing. Property tests take the time
that a busy machine gives them."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.sharing import Sharing

# How long an example takes, or its making, is told by what else the machine does. The examples are the same in every run: a
# change is judged by what it does, not by what was drawn. EDGEKUBE_TESTS_DRAW=1 draws others, to find what nobody thought of.
settings.register_profile(
    "edgekube",
    deadline=None,
    derandomize=os.environ.get("EDGEKUBE_TESTS_DRAW") != "1",
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("edgekube")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return Sharing(config, log)
