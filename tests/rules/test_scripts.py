"""Scripts and units are read by the programs that know their language."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = [
    "install.sh", "systemd/edgekube-supervise", "tests/run", "tests/clients/run-slow", "tests/e2e/tutorials/run", ".ci/run",
]  # fmt: skip
UNITS = sorted((ROOT / "systemd").glob("*.service"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_parse_and_can_be_run(name: str) -> None:
    path = ROOT / name
    shell = path.read_text().splitlines()[0].split("/")[-1].split()[-1]
    done = subprocess.run([shell, "-n", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert path.stat().st_mode & 0o111, f"{name} is not executable"


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_clean(name: str) -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed (Debian package shellcheck)")
    done = subprocess.run([shellcheck, "-x", str(ROOT / name)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_units_are_understood_by_systemd(unit: Path, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed (Debian package systemd)")
    # What is started is not installed here, and systemd-analyze insists that it is there.
    program = tmp_path / "edgekube"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/edgekube/venv/bin/edgekube", str(program)))
    done = subprocess.run([analyze, "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0 and done.stderr == "", done.stderr


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_restart_of_the_unit_spares_containers(path: Path) -> None:
    unit = path.read_text().splitlines()
    for line in (
        "Type=notify",
        "Restart=always",
        "KillMode=process",
        "Delegate=yes",
        "TasksMax=infinity",
        "StartLimitIntervalSec=0",
    ):
        assert line in unit
