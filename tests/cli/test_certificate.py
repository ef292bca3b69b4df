"""What ``edgekube certificate`` shows."""

from __future__ import annotations

from typing import Any

from click.testing import CliRunner

from edgekube.api import times
from edgekube.cli.certificate import command, render, render_rotation

NOW = times.parse("2026-11-27T12:00:00Z")
OLD, NEW = "5b803e8bd9f4daf9" * 4, "70e13070fc591260" * 4


def report(**changed: Any) -> dict[str, Any]:
    return {
        "phase": "signing",
        "began": "2026-11-27T11:00:00Z",
        "authorities": [
            {"fingerprint": OLD, "notAfter": "2027-01-01T00:00:00Z", "signs": False},
            {"fingerprint": NEW, "notAfter": "2036-11-24T00:00:00Z", "signs": True},
        ],
        "certificates": [{"name": "server", "notAfter": "2026-11-27T11:59:00Z", "authority": OLD}],
        "tokenKeys": [{"id": "aS6tfw9OqYUFXgfZC19hxT3e", "signs": True}],
        "nodes": [
            {"name": "pi-7", "ready": True, "authority": NEW[:16], "notAfter": "2027-11-27T12:00:00Z"},
            {"name": "pi-in-the-attic", "ready": False, "authority": "", "notAfter": ""},
        ],
        "waitingFor": [],
        "holdingOld": ["pi-in-the-attic"],
        **changed,
    }


def test_the_list_names_everything_that_can_expire() -> None:
    assert render(report(), NOW) == (
        "KIND       NAME              AUTHORITY         EXPIRES               IN\n"
        "authority  5b803e8bd9f4daf9  is trusted        2027-01-01T00:00:00Z  34d\n"
        "authority  70e13070fc591260  signs             2036-11-24T00:00:00Z  9y\n"
        "server     server            5b803e8bd9f4daf9  2026-11-27T11:59:00Z  expired\n"
        "node       pi-7              70e13070fc591260  2027-11-27T12:00:00Z  365d\n"
        "node       pi-in-the-attic   unknown           unknown               -\n"
        "token key  aS6tfw9OqYUFXgfZ  signs             -                     -\n"
    )


def test_each_phase_of_a_rotation_says_what_it_waits_for() -> None:
    settled = report(phase="settled", authorities=report()["authorities"][:1], holdingOld=[])
    assert render_rotation(settled) == "one authority: 5b803e8bd9f4daf9\n"
    begun = "begun 2026-11-27T11:00:00Z: 5b803e8bd9f4daf9 is being replaced by 70e13070fc591260, both are trusted\n"
    assert render_rotation(report(phase="trusting", waitingFor=["pi-7"])) == (
        begun + "70e13070fc591260 signs as soon as these nodes trust it: pi-7\n"
    )
    assert render_rotation(report(phase="trusting")) == begun + "70e13070fc591260 signs in a moment\n"
    signing = render_rotation(report())
    assert signing.startswith(f"{begun}70e13070fc591260 signs\nnodes that still need 5b803e8bd9f4daf9: pi-in-the-attic\n")
    assert signing.endswith("edgekube certificate rotate-ca --finish\n")
    assert "no node needs 5b803e8bd9f4daf9 any more" in render_rotation(report(holdingOld=[]))


def test_flags_that_make_no_sense_together_are_refused() -> None:
    for flags, complaint in ((["--force"], "goes with --finish"), (["--status", "--finish"], "not both")):
        done = CliRunner().invoke(command, ["rotate-ca", *flags])
        assert done.exit_code == 2 and complaint in done.output


def test_without_a_server_it_says_where_it_runs(tmp_path: Any) -> None:
    done = CliRunner().invoke(command, ["list", "--data-dir", str(tmp_path)])
    assert done.exit_code == 1 and "runs on a server" in done.output
