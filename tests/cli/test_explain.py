"""What ends a server is told in one line that says what to do; a fault of ours keeps its traceback."""

import errno

import pytest

from edgekube.cli.explain import explain
from edgekube.containerd.host import RuntimeUnavailable
from edgekube.pki.authority import AuthorityDamaged
from edgekube.store.protocol import StoreRefused


def os_error(number: int, path: str | None = None) -> OSError:
    return OSError(number, "the kernel's words", path)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (StoreRefused("state.db belongs to another program"), "state.db belongs to another program"),
        (RuntimeUnavailable("install containerd"), "install containerd"),
        (AuthorityDamaged("ca.key is missing"), "the cluster's certificates cannot be used: ca.key is missing"),
        (os_error(errno.EADDRINUSE), "--https-port and --agent-port"),
        (os_error(errno.ENOSPC, "/data/x"), "the disk is full at /data/x: free some space"),
        (os_error(errno.EROFS, "/data"), "no permission to write at /data"),
        (os_error(errno.ENOTDIR, "/data/x"), "/data/x: the kernel's words"),
        (ExceptionGroup("nursery", [ExceptionGroup("inner", [RuntimeUnavailable("install containerd")])]), "install containerd"),
    ],
)
def test_an_operators_error_is_one_line(error: Exception, told: str) -> None:
    text = explain(error, StoreRefused)
    assert text is not None and told in text and "\n" not in text


def test_a_fault_of_ours_is_not_explained_away() -> None:
    assert explain(KeyError("x"), StoreRefused) is None
    assert explain(ExceptionGroup("both", [StoreRefused("x"), KeyError("y")]), StoreRefused) is None
