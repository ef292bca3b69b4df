"""edgekube status: told from every state a machine can be in, with what to do next."""

import datetime
import socket
from pathlib import Path

import pytest

from edgekube.cli.installation import Service, lock_is_held
from edgekube.cli.status import advice, render
from edgekube.cli.surveying import Survey, certificate_days, survey
from edgekube.settings import Settings
from tests.cli.clusters import write_identity


def ready() -> Survey:
    return Survey(
        service=Service("systemd", True, 1),
        node_name="pi-7",
        agent=True,
        api_url="https://127.0.0.1:6443",
        api_version="v1.36.0+edgekube.0.1.0",
        api_ready=True,
        node_ready=True,
        node_message="agent is ready",
        pods={"Running": 5, "Failed": 1},
        containerd="containerd://1.6.20 (pid 812)",
        data_dir="/var/lib/edgekube",
        data_bytes=5 * 1024 * 1024,
        data_free_bytes=20 * 1024**3,
        certificate_days={"server.crt": 365, "ca.crt": 3650},
    )


def test_all_is_well() -> None:
    assert render(ready(), advice(ready())) == (
        "service:      running (systemd)\n"
        "API:          v1.36.0+edgekube.0.1.0 at https://127.0.0.1:6443, ready\n"
        "node:         pi-7, Ready\n"
        "pods:         1 Failed, 5 Running\n"
        "containerd:   containerd://1.6.20 (pid 812)\n"
        "data:         /var/lib/edgekube: 5 MiB, 20.0 GiB free\n"
        "certificates: the first ends in 365 days\n"
    )


def test_a_stopped_service_is_to_be_started() -> None:
    found = ready()
    found.service = Service("", False)
    found.api_version, found.api_ready, found.api_problem, found.node_ready, found.pods = "", False, "nobody answers", None, None
    text = render(found, advice(found))
    assert "not installed as a service" in text and "nobody answers" in text and "unknown without the API" in text
    assert "-> start it: sudo ./install.sh" in text and "edgekube check" in text


def test_a_node_that_is_not_ready_says_why_and_where_to_look() -> None:
    found = ready()
    found.node_ready, found.node_message = False, "container runtime network not ready"
    found.last_errors = ["2026-11-23T10:00:00Z ERROR edgekube.network: nft refused"]
    text = render(found, advice(found))
    assert "not Ready: container runtime network not ready" in text and "nft refused" in text and "-> read the log" in text


def test_certificates_that_end_soon_are_named() -> None:
    found = ready()
    found.certificate_days["admin.crt"] = 12
    assert "admin.crt ends in 12 days; a restart of edgekube renews it" in render(found, [])


@pytest.mark.parametrize(
    ("change", "step"),
    [
        ({"api_ready": False, "api_problem": "nobody answers"}, "waiting for the API: nobody answers"),
        ({"node_ready": None}, "the API is ready; waiting for node pi-7"),
        ({"node_ready": False, "node_message": "starting"}, "the node is not Ready: starting"),
        ({"node_ready": None, "agent": False}, "the API is ready"),
        ({}, "the node is Ready"),
    ],
)
def test_a_start_is_told_step_by_step(change: dict[str, object], step: str) -> None:
    found = ready()
    for name, value in change.items():
        setattr(found, name, value)
    assert found.step() == step


# --- against a real (absent) cluster ---------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    return Settings(
        "pi-7",
        data_dir=tmp_path / "data",
        run_dir=tmp_path / "run",
        https_port=port,
        admin_kubeconfig=tmp_path / "admin.yaml",
    )


def test_before_the_first_start(settings: Settings) -> None:
    found = survey(settings)
    assert not found.ready and "the server has not started here yet" in found.api_problem
    assert found.certificate_days == {} and found.containerd == "" and found.data_bytes == 0 and found.data_free_bytes > 0


def test_a_server_that_is_down(settings: Settings) -> None:
    write_identity(settings)
    found = survey(settings)
    assert not found.ready and f"nobody answers at https://127.0.0.1:{settings.https_port}" in found.api_problem
    assert min(found.certificate_days.values()) > 300 and found.data_bytes > 0
    assert found.as_object()["ready"] is False


def test_certificates_are_counted_in_days_and_unreadable_ones_left_out(settings: Settings) -> None:
    write_identity(settings)
    (settings.pki_dir / "broken.crt").write_text("no certificate")
    now = datetime.datetime.now(datetime.UTC)
    today, later = certificate_days(settings.pki_dir, now), certificate_days(settings.pki_dir, now + datetime.timedelta(days=10))
    assert "broken.crt" not in today and {name: days - 10 for name, days in today.items()} == later
    assert certificate_days(settings.pki_dir / "absent", now) == {}


def test_a_stale_pid_file_deceives_nobody(tmp_path: Path) -> None:
    import fcntl

    lock = tmp_path / "lock"
    assert not lock_is_held(lock)
    with lock.open("w") as file:
        assert not lock_is_held(lock)
        fcntl.flock(file, fcntl.LOCK_EX)
        assert lock_is_held(lock)
    assert not lock_is_held(lock)
