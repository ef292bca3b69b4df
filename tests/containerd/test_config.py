"""The generated config.toml: golden files for each generation of containerd, and properties of the writer."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from edgekube.containerd.config import Instance, Version, parse_version, render
from edgekube.containerd.handlers import Handler, handlers
from edgekube.containerd.host import may_lower_oom_score, throttle_paths

GOLDEN = Path(__file__).parent / "golden"
PI = Instance(
    root=Path("/var/lib/edgekube/containerd"),
    state=Path("/run/edgekube/containerd"),
    sandbox_image="edgekube.local/pause:1",
    cni_conf_dir=Path("/var/lib/edgekube/cni/net.d"),
    cni_bin_dirs=(Path("/usr/lib/cni"), Path("/opt/cni/bin")),
    registries_dir=Path("/var/lib/edgekube/agent/registries"),
)


@pytest.mark.parametrize(
    ("version", "golden"), [((1, 6), "containerd-1.6.toml"), ((1, 7), "containerd-1.7.toml"), ((2, 1), "containerd-2.toml")]
)
def test_golden(version: Version, golden: str) -> None:
    assert render(PI, version) == (GOLDEN / golden).read_text()


def test_containerd_2_0_has_one_cni_directory_still() -> None:
    runtime = tomllib.loads(render(PI, (2, 0)))["plugins"]["io.containerd.cri.v1.runtime"]
    assert runtime["cni"]["bin_dir"] == "/usr/lib/cni"
    assert "bin_dirs" not in runtime["cni"]


def test_facts_of_the_host_show() -> None:
    small = replace(PI, restrict_oom_score_adj=True, snapshotter="native")
    cri = tomllib.loads(render(small, (1, 6)))["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["restrict_oom_score_adj"] is True
    assert cri["containerd"]["snapshotter"] == "native"
    assert cri["containerd"]["runtimes"]["runc"]["options"] == {
        "Root": "/run/edgekube/containerd/runc",
        "SystemdCgroup": False,
    }


@settings(max_examples=40, deadline=None)
@given(name=st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0/"), min_size=1, max_size=30))
def test_any_path_survives_toml(name: str) -> None:
    text = render(replace(PI, registries_dir=Path("/data") / name), (1, 7))
    registry = tomllib.loads(text)["plugins"]["io.containerd.grpc.v1.cri"]["registry"]
    assert registry["config_path"] == str(Path("/data") / name)


@pytest.mark.parametrize(
    ("banner", "version"),
    [
        ("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3", (1, 6)),
        ("containerd github.com/containerd/containerd 1.7.24~ds1 1.7.24~ds1-6", (1, 7)),
        ("containerd github.com/containerd/containerd/v2 v2.1.4 75cb2b7193e4e490e9fbdc236c0e811ccaba3376", (2, 1)),
        ("containerd containerd.io v1.7.27 05044ec0a9a75232cad458027ca83437aae3f4da", (1, 7)),
    ],
)
def test_version_banners(banner: str, version: Version) -> None:
    assert parse_version(banner) == version


def test_a_banner_without_version_is_an_error() -> None:
    with pytest.raises(ValueError, match="no version"):
        parse_version("segmentation fault")


def test_capability_decides_about_oom_scores() -> None:
    assert may_lower_oom_score("Name:\tx\nCapEff:\t000001ffffffffff\n")
    assert not may_lower_oom_score("Name:\tx\nCapEff:\t000001fffeffffff\n")
    assert not may_lower_oom_score("Name:\tx\n")


def test_handlers_of_other_runtimes() -> None:
    here = {"crun": "/usr/bin/crun", "containerd-shim-runsc-v1": "/usr/local/bin/containerd-shim-runsc-v1"}
    found = handlers(here.get)
    assert found == (Handler("crun", "io.containerd.runc.v2", "/usr/bin/crun"), Handler("runsc", "io.containerd.runsc.v1"))
    for version, plugin in (((1, 6), "io.containerd.grpc.v1.cri"), ((2, 1), "io.containerd.cri.v1.runtime")):
        read = tomllib.loads(render(replace(PI, handlers=found), version))["plugins"][plugin]["containerd"]
        assert read["default_runtime_name"] == "runc"
        assert {name: runtime["runtime_type"] for name, runtime in read["runtimes"].items()} == {
            "runc": "io.containerd.runc.v2",
            "crun": "io.containerd.runc.v2",
            "runsc": "io.containerd.runsc.v1",
        }
        assert read["runtimes"]["crun"]["options"] == {
            "Root": "/run/edgekube/containerd/runc-crun",
            "SystemdCgroup": False,
            "BinaryName": "/usr/bin/crun",
        }
    assert handlers(lambda program: None) == ()


def test_what_tells_of_the_processors_heat_is_hidden(tmp_path: Path) -> None:
    for name in ("cpu0/thermal_throttle", "cpu1/thermal_throttle", "cpu2/cache"):
        (tmp_path / name).mkdir(parents=True)
    assert throttle_paths(tmp_path) == tuple(str(tmp_path / name) for name in ("cpu0/thermal_throttle", "cpu1/thermal_throttle"))
