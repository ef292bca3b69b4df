"""edgekube check: a host's facts in, what an operator reads out. The hosts and the answers are files beside this one."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.cli import gathering
from edgekube.cli.check import command, render
from edgekube.cli.hostfacts import HostFacts, PortHolder
from edgekube.cli.judging import judge
from edgekube.settings import Settings

HOSTS = Path(__file__).parent / "hosts"


def host(name: str) -> HostFacts:
    return HostFacts.from_object(json.loads((HOSTS / f"{name}.json").read_text()))


@pytest.mark.parametrize("name", sorted(path.stem for path in HOSTS.glob("*.json")))
def test_what_an_operator_reads(name: str) -> None:
    """UPDATE_GOLDEN=1 writes the answers anew; read the difference."""
    facts = host(name)
    text = render(facts, judge(facts))
    golden = HOSTS / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


def test_facts_survive_being_written_down() -> None:
    facts = host("debian-13-with-docker-and-k3s")
    assert HostFacts.from_object(json.loads(json.dumps(facts.as_object()))) == facts
    with pytest.raises(TypeError):
        HostFacts.from_object({"no_such_fact": 1})


def test_memory_cgroup_of_a_fresh_raspberry_pi_blocks_and_names_the_file() -> None:
    found = [finding for finding in judge(host("raspberry-pi-os-fresh")) if finding.subject == "cgroups"]
    assert [finding.level for finding in found] == ["blocks"]
    assert "cgroup_enable=memory cgroup_memory=1" in found[0].fix and "/boot/firmware/cmdline.txt" in found[0].fix


def test_without_vxlan_a_node_works_as_long_as_all_are_on_one_segment() -> None:
    facts = dataclasses.replace(host("raspberry-pi-4-ready"), kernel_refused={"vxlan": "Error: Unknown device type."})
    (found,) = [finding for finding in judge(facts) if finding.subject == "kernel"]
    assert found.level == "warning" and "behind a router" in found.text and "modprobe vxlan" in found.fix


def test_our_own_server_does_not_stand_in_our_way() -> None:
    facts = host("raspberry-pi-4-ready")
    mine = dataclasses.replace(facts, ports=[PortHolder(6443, "the API", "python3", 501, ours=True)])
    assert judge(mine) == judge(facts)


@given(
    version=st.integers(0, 2),
    controllers=st.lists(st.sampled_from(["cpu", "memory", "pids", "io"]), unique=True),
    free=st.integers(0, 10**12),
    clock=st.floats(0, 4e9),
    refused=st.dictionaries(st.sampled_from(["veth", "nftables", "other"]), st.text(max_size=5), max_size=2),
    root=st.booleans(),
    agent=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_whatever_is_wrong_has_a_fix(
    version: int, controllers: list[str], free: int, clock: float, refused: dict[str, str], root: bool, agent: bool
) -> None:
    facts = HostFacts(
        root=root,
        agent=agent,
        cgroup_version=version,
        cgroup_controllers=controllers,
        data_free_bytes=free,
        data_total_bytes=10**12,
        now=clock,
        built_at=1.7e9,
        kernel_refused=refused,
    )
    findings = judge(facts)
    assert findings and all(finding.fix or finding.level == "ok" for finding in findings)
    assert all("\n" not in finding.text + finding.fix for finding in findings)


# --- gathering -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "version", "controllers"),
    [
        ({"cgroup.controllers": "cpuset cpu io memory pids\n"}, 2, ["cpu", "cpuset", "io", "memory", "pids"]),
        (
            {"memory/x": "", "cpu,cpuacct/x": "", "pids/x": "", "systemd/x": "", "unified/x": ""},
            1,
            ["cpu", "cpuacct", "memory", "pids"],
        ),
        ({"unified/x": ""}, 0, []),
    ],
    ids=["v2", "v1", "nothing mounted"],
)
def test_control_groups_of_both_versions_are_read(
    tmp_path: Path, files: dict[str, str], version: int, controllers: list[str]
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    assert gathering.cgroups(tmp_path) == (version, controllers)
    assert gathering.cgroups(tmp_path / "absent") == (0, [])


def test_listeners_are_read_from_ss() -> None:
    text = """LISTEN 0      4096         0.0.0.0:6443      0.0.0.0:*    users:(("k3s-server",pid=812,fd=11))
LISTEN 0      4096               *:10250            *:*
LISTEN 0      511            [::1]:8080          [::]:*    users:(("nginx",pid=9,fd=6),("nginx",pid=10,fd=6))
nonsense
"""
    assert gathering.listeners(text) == {6443: ("k3s-server", 812), 10250: ("", 0), 8080: ("nginx", 9)}


@pytest.mark.root
def test_this_machine_is_seen_as_it_is(tmp_path: Path) -> None:
    facts = gathering.gather(Settings("n", data_dir=tmp_path / "not" / "there" / "yet", https_port=1))
    assert facts.root and facts.cgroup_version in (1, 2) and facts.memory_bytes > 0 and facts.data_free_bytes > 0
    assert facts.kernel_refused == {} and all(facts.programs.values()) and facts.containerd_version >= "1.6"
    assert facts.now > facts.built_at
    assert list(tmp_path.iterdir()) == [], "looking changes nothing"


@pytest.mark.root
def test_a_taken_port_names_who_has_it(tmp_path: Path) -> None:
    """Port and program are in a namespace of their own, where nobody else listens."""
    script = (
        "ip link set lo up; python3 -m http.server 6443 >/dev/null & p=$!; "
        "until ss -H -ltn | grep -q 6443; do sleep 0.05; done; "
        f"python3 -m edgekube check --json --data-dir {tmp_path}; code=$?; kill $p; exit $code"
    )
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", script], capture_output=True, text=True, check=False, env=environment, timeout=60
    )
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)["findings"]
    taken = next(finding for finding in found if finding["subject"] == "ports")
    assert "port 6443 for the API is taken by python3 (pid " in taken["text"] and "https-port" in taken["fix"]


def test_a_setting_that_cannot_be_used_is_refused_before_looking() -> None:
    result = CliRunner().invoke(command, ["--https-port", "none"])
    assert result.exit_code == 2 and "give a port from 1 to 65535" in result.output
