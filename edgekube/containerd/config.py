"""The configuration file of our own containerd.

Enters: an Instance (paths and facts about the host) and containerd's version.
Leaves: config.toml as text: version 2 for containerd 1.6 and 1.7, version 3 for 2.x, whose CRI plugin is split in two.
Holds: pure; the same instance always gives the same text, so that a running containerd with the same text can be adopted.
Next: containerd.supervisor.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias

from msgspec import Struct

from edgekube.containerd.handlers import Handler

Version: TypeAlias = tuple[int, int]
_Value: TypeAlias = "str | bool | int | list[str] | Mapping[str, _Value]"

#: Plugins that a board never needs; each costs memory, a log line of complaint, or both.
_DISABLED_PLUGINS: Final = [
    "io.containerd.internal.v1.opt",
    "io.containerd.internal.v1.tracing",
    "io.containerd.tracing.processor.v1.otlp",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.blockfile",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.nri.v1.nri",
]
#: The kubelet's limit for a line in a container's log before it is split with a P tag.
_LOG_LINE_BYTES_MAX: Final = 16 * 1024


class Instance(Struct, frozen=True):
    """What one containerd is started with."""

    root: Path
    state: Path
    sandbox_image: str
    cni_conf_dir: Path
    cni_bin_dirs: tuple[Path, ...]
    registries_dir: Path  # one directory per registry host, with a hosts.toml (containerd docs/hosts.md)
    snapshotter: str = "overlayfs"
    restrict_oom_score_adj: bool = False
    handlers: tuple[Handler, ...] = ()  # beside runc

    @property
    def address(self) -> Path:
        return self.state / "containerd.sock"


def render(instance: Instance, version: Version) -> str:
    """config.toml for containerd ``version`` (major, minor)."""
    # The agent makes a cgroup per pod by path, on every kind of host, and runc's systemd driver takes only names of slices.
    options: dict[str, _Value] = {"Root": str(instance.state / "runc"), "SystemdCgroup": False}
    runtime: dict[str, _Value] = {
        "max_container_log_line_size": _LOG_LINE_BYTES_MAX,
        "netns_mounts_under_state_dir": True,
        "restrict_oom_score_adj": instance.restrict_oom_score_adj,
        # A device node belongs to the container's user: who asks for a device need not be root.
        "device_ownership_from_security_context": True,
    }
    if version == (1, 7):
        runtime["enable_cdi"] = True  # from 2.0 on it is the default, before 1.7 there is none
    containerd: dict[str, _Value] = {
        "default_runtime_name": "runc",
        "runtimes": {
            "runc": {"runtime_type": "io.containerd.runc.v2", "options": options},
            **{handler.name: _runtime(handler, options) for handler in instance.handlers},
        },
    }
    cni: dict[str, _Value] = {"conf_dir": str(instance.cni_conf_dir), "max_conf_num": 1}
    bin_dirs = [str(directory) for directory in instance.cni_bin_dirs]
    if version >= (2, 1):
        cni["bin_dirs"] = list(bin_dirs)
    elif bin_dirs:
        cni["bin_dir"] = bin_dirs[0]
    registry: dict[str, _Value] = {"config_path": str(instance.registries_dir)}
    stream: dict[str, _Value] = {
        "disable_tcp_service": True,
        "stream_server_address": "127.0.0.1",
        "stream_server_port": "0",
    }
    plugins: dict[str, _Value]
    if version >= (2, 0):
        plugins = {
            "io.containerd.cri.v1.images": {
                "snapshotter": instance.snapshotter,
                "pinned_images": {"sandbox": instance.sandbox_image},
                "registry": registry,
            },
            "io.containerd.cri.v1.runtime": {**runtime, "containerd": containerd, "cni": cni},
            "io.containerd.grpc.v1.cri": stream,
        }
    else:
        containerd["snapshotter"] = instance.snapshotter
        plugins = {
            "io.containerd.grpc.v1.cri": {
                "sandbox_image": instance.sandbox_image,
                **stream,
                **runtime,
                "containerd": containerd,
                "cni": cni,
                "registry": registry,
            }
        }
    return "# Written by edgekube at every start; edits are lost.\n" + _toml(
        {
            "version": 3 if version >= (2, 0) else 2,
            "root": str(instance.root),
            "state": str(instance.state),
            "disabled_plugins": list(_DISABLED_PLUGINS),
            "grpc": {"address": str(instance.address)},
            # At "info" containerd writes ten lines for each pod, which is wear on an SD card and tells nobody anything.
            "debug": {"level": "warn"},
            "plugins": plugins,
        }
    )


def _runtime(handler: Handler, options: Mapping[str, _Value]) -> dict[str, _Value]:
    made: dict[str, _Value] = {"runtime_type": handler.runtime_type}
    if handler.binary:
        # A directory of its own: its containers are not runc's.
        made["options"] = {**options, "Root": f"{options['Root']}-{handler.name}", "BinaryName": handler.binary}
    return made


def parse_version(banner: str) -> Version:
    """(1, 6) from what ``containerd --version`` prints, with or without a leading v. Raises ValueError.

    >>> parse_version("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3")
    (1, 6)
    """
    for word in banner.split()[1:]:
        numbers = word.removeprefix("v").split(".")
        if len(numbers) >= 2 and numbers[0].isdigit() and numbers[1].isdigit():
            return int(numbers[0]), int(numbers[1])
    raise ValueError(f"no version in {banner!r}")


def _toml(table: Mapping[str, _Value]) -> str:
    return "\n".join(_lines(table, ())) + "\n"


def _lines(table: Mapping[str, _Value], path: tuple[str, ...]) -> list[str]:
    indent = "  " * max(0, len(path) - 2)
    values = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    lines = [f"{indent}{key} = {_literal(value)}" for key, value in values.items()]
    if path and (values or not table):
        header = ".".join(_string(part) if "." in part else part for part in path)
        lines = ["", f"{indent}[{header}]", *lines]
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines += _lines(value, (*path, key))
    return lines


def _literal(value: _Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return _string(value)
    assert not isinstance(value, Mapping)
    return "[" + ", ".join(_string(item) for item in value) + "]"


def _string(text: str) -> str:
    """A TOML basic string. Control characters cannot be in the paths that come here; they are escaped all the same."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}" for c in escaped) + '"'
