"""One authority replaces another, whatever the moment at which the plug is pulled."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509

from edgekube.pki.authorities import Authorities, Phase, fingerprint
from edgekube.pki.authority import Authority, AuthorityDamaged
from edgekube.pki.certificates import admin_subject, ensure
from tests.pki.rotating import NOW, STEPS

ROOT = Path(__file__).resolve().parents[2]


def name(authority: Authority) -> str:
    return fingerprint(authority)


def through(directory: Path, *steps: str) -> Authorities:
    authorities = Authorities(directory, NOW)
    for step in steps:
        getattr(authorities, step)(NOW)
    return authorities


def test_who_signs_who_serves_and_who_is_trusted(tmp_path: Path) -> None:
    authorities = Authorities(tmp_path, NOW)
    old = authorities.signing
    assert authorities.serving is old and authorities.bundle == old.certificate_pem
    authorities.begin(NOW)
    new = authorities.newest
    assert new is not old
    assert (authorities.signing, authorities.serving, authorities.trusted) == (old, old, (old, new))
    authorities.sign_with_new(NOW)
    assert (authorities.signing, authorities.serving, authorities.trusted) == (new, old, (old, new))
    authorities.finish(NOW)
    assert (authorities.signing, authorities.serving, authorities.trusted) == (new, new, (new,))
    assert (tmp_path / "ca.crt").read_bytes() == new.certificate_pem
    assert sorted(os.listdir(tmp_path)) == ["ca-bundle.crt", "ca.crt", "ca.key"]


def test_steps_out_of_turn_do_nothing(tmp_path: Path) -> None:
    authorities = Authorities(tmp_path, NOW)
    authorities.sign_with_new(NOW)
    authorities.finish(NOW)
    assert sorted(os.listdir(tmp_path)) == ["ca-bundle.crt", "ca.crt", "ca.key"]
    authorities.begin(NOW)
    new = name(authorities.newest)
    authorities.begin(NOW)
    authorities.finish(NOW)
    assert authorities.phase is Phase.TRUSTING and name(authorities.newest) == new


@pytest.mark.parametrize("steps", [STEPS[:1], STEPS[:2], STEPS], ids=["trusting", "signing", "settled"])
def test_a_restart_changes_nothing(tmp_path: Path, steps: tuple[str, ...]) -> None:
    before = through(tmp_path, *steps)
    again = Authorities(tmp_path, NOW)
    assert again.phase is before.phase and again.bundle == before.bundle
    assert name(again.signing) == name(before.signing) and name(again.serving) == name(before.serving)
    assert again.began == before.began
    assert (tmp_path / "ca-bundle.crt").read_bytes() == again.bundle
    private = [path for path in tmp_path.iterdir() if path.suffix == ".key"]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in private)


def test_leaves_follow_the_authority_that_signs(tmp_path: Path) -> None:
    authorities = Authorities(tmp_path, NOW)
    for step in (*STEPS, *STEPS):
        getattr(authorities, step)(NOW)
        pair = ensure(authorities.signing, tmp_path, "admin", admin_subject(), now=NOW)
        certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
        certificate.verify_directly_issued_by(authorities.signing.certificate)


def test_a_state_without_its_new_authority_is_told_and_left_alone(tmp_path: Path) -> None:
    through(tmp_path, "begin")
    (tmp_path / "ca-next.crt").unlink()
    with pytest.raises(AuthorityDamaged, match=r"ca-next\.crt is not there"):
        Authorities(tmp_path, NOW)
    (tmp_path / "ca-rotation.json").write_text("[]")
    with pytest.raises(AuthorityDamaged, match="cannot be read"):
        Authorities(tmp_path, NOW)


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_change_of_the_disk_a_step_was_done_or_was_not(tmp_path: Path, step: str) -> None:
    """SIGKILL at the first rename or unlink of the step, at the second, and so on until it runs through."""
    prepared = tmp_path / "prepared"
    before = through(prepared, *STEPS[: STEPS.index(step)])
    phases = set()
    for count in range(1, 30):
        directory = tmp_path / f"killed-{count}"
        shutil.copytree(prepared, directory)
        inject = ["-e", "trace=rename,unlink", "-e", f"inject=rename,unlink:signal=SIGKILL:when={count}"]
        command = ["strace", "-f", "-qq", "-o", "/dev/null", *inject, sys.executable, "-m", "tests.pki.rotating"]
        done = subprocess.run([*command, str(directory), step], cwd=ROOT, check=False, capture_output=True, text=True)
        after = Authorities(directory, NOW)
        phases.add(after.phase)
        assert after.serving.certificate_pem in after.bundle and after.signing.certificate_pem in after.bundle
        if after.phase is before.phase and step != "begin":
            assert after.bundle == before.bundle
        getattr(after, step)(NOW)  # whoever asked for it asks again
        expected = {"begin": Phase.TRUSTING, "sign_with_new": Phase.SIGNING, "finish": Phase.SETTLED}[step]
        assert after.phase is expected
        again = Authorities(directory, NOW)
        assert again.phase is expected and again.bundle == after.bundle
        if done.returncode == 0:
            break
    else:
        raise AssertionError("the step never ran through")
    assert count > 1 and expected in phases
