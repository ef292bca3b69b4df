"""edgekube kubeconfig: the same key to the cluster, with another address on it."""

import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgekube.cli.kubeconfig import command, server_url
from edgekube.client.kubeconfig import parse_kubeconfig
from edgekube.settings import Settings
from tests.cli.clusters import write_identity


def ask(data_dir: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, ["--data-dir", str(data_dir), *arguments])


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    settings = Settings("n", data_dir=tmp_path / "data", admin_kubeconfig=tmp_path / "admin.yaml")
    write_identity(settings)
    return settings.data_dir


def test_it_prints_what_the_server_wrote(data_dir: Path) -> None:
    result = ask(data_dir)
    assert result.exit_code == 0
    assert result.stdout == (data_dir / "server/kubeconfig.yaml").read_text()


def test_another_address_and_nothing_else_is_changed(data_dir: Path) -> None:
    here, there = ask(data_dir).stdout.splitlines(), ask(data_dir, "--server", "https://pi-7.local").stdout.splitlines()
    assert [(a, b) for a, b in zip(here, there, strict=True) if a != b] == [
        ("    server: https://127.0.0.1:6443", "    server: https://pi-7.local:6443")
    ]
    assert parse_kubeconfig("\n".join(there).encode()).server_name == "pi-7.local"


def test_a_written_file_is_for_its_owner_only(data_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "config"
    out.write_text("an older one, readable by all")
    out.chmod(0o644)
    result = ask(data_dir, "--server", "192.0.2.7", "--out", str(out))
    assert result.exit_code == 0 and "export KUBECONFIG=" in result.stderr
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert "server: https://192.0.2.7:6443" in out.read_text()
    assert os.listdir(tmp_path).count("config") == 1 and not list(tmp_path.glob(".config*"))


@pytest.mark.root
def test_a_file_written_with_sudo_belongs_to_the_person(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_UID", "1234")
    monkeypatch.setenv("SUDO_GID", "1235")
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 1234, 1235)
    ask(data_dir, "--out", str(home / "config"))
    assert (home / "config").stat().st_uid == 1234 and (home / "config").stat().st_gid == 1235
    ask(data_dir, "--out", str(tmp_path / "roots"))
    assert (tmp_path / "roots").stat().st_uid == 0, "a directory of root's stays root's"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("pi-7", "https://pi-7:6443"),
        ("pi-7:7443", "https://pi-7:7443"),
        ("https://192.0.2.1", "https://192.0.2.1:6443"),
        ("https://[2001:db8::1]:8443/", "https://[2001:db8::1]:8443"),
    ],
)
def test_short_addresses_are_completed(text: str, url: str) -> None:
    assert server_url(text, 6443) == url


@pytest.mark.parametrize("text", ["http://pi-7", "https://pi-7/prefix", "pi-7:port", "https://", "https://a@pi-7"])
def test_addresses_that_no_client_could_use_are_refused(data_dir: Path, text: str) -> None:
    result = ask(data_dir, "--server", text)
    assert result.exit_code == 2 and "--server" in result.output


def test_before_the_first_start_it_says_so(tmp_path: Path) -> None:
    result = ask(tmp_path)
    assert result.exit_code == 1 and "the server writes it at its first start" in result.output
