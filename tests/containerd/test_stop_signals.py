"""Names of signals, as Pods spell them."""

from __future__ import annotations

import signal

import pytest

from edgekube.containerd.stop_signals import number_of


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("SIGTERM", signal.SIGTERM),
        ("SIGUSR1", signal.SIGUSR1),
        ("SIGRTMIN", signal.SIGRTMIN),
        ("SIGRTMIN+3", signal.SIGRTMIN + 3),
        ("SIGRTMAX-1", signal.SIGRTMAX - 1),
        ("SIGRTMIN-1", None),
        ("SIGRTMAX+1", None),
        ("SIGNOTHING", None),
        ("", None),
    ],
)
def test_the_number_of_a_signal(name: str, number: int | None) -> None:
    assert number_of(name) == number
