"""What people mistype is answered with what they meant."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from edgekube.cli.main import NOUNS, edgekube
from edgekube.version import GIT_VERSION


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        (["serve"], "did you mean 'edgekube server'?"),
        (["kubeconf"], "did you mean 'edgekube kubeconfig'?"),
        (["get", "pods"], "use kubectl with the file that 'edgekube kubeconfig' prints"),
        (["frobnicate"], f"the commands are {', '.join(NOUNS)}"),
        (["server", "--data-dri", "/x"], "--data-dir"),
        (["check", "--jsn"], "--json"),
        (["image", "lst"], "list"),
        (["status", "--wait", "0"], "--wait"),
        (["uninstall", "now"], "unexpected extra argument"),
    ],
)
def test_a_mistake_is_answered_with_what_was_meant(typed: list[str], answer: str) -> None:
    result = CliRunner().invoke(edgekube, typed)
    assert result.exit_code == 2
    assert answer in result.output


def test_version_and_help_need_no_root_and_no_cluster() -> None:
    assert CliRunner().invoke(edgekube, ["--version"]).output == f"edgekube {GIT_VERSION}\n"
    listed = CliRunner().invoke(edgekube, ["--help"])
    assert listed.exit_code == 0 and all(f"  {noun} " in listed.output for noun in NOUNS)


def test_a_noun_is_loaded_only_when_it_is_used() -> None:
    """A server must not carry what only a person at a terminal needs."""
    script = "import sys, edgekube.cli.server; print([m for m in sys.modules if m.startswith('edgekube.cli')])"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "edgekube.cli.server" in loaded
    for noun in ("check", "gathering", "status", "surveying", "uninstall", "image", "kubeconfig"):
        assert f"edgekube.cli.{noun}'" not in loaded
