"""What this host allows containerd to do.

Enters: nothing; reads /proc and /sys, tries a mount.
Leaves: facts for containerd.config and clear errors for what is missing.
Holds: nothing is left behind by the trial mount.
Next: containerd.supervisor.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from edgekube.containerd.config import Version, parse_version

#: Where binaries are looked for besides PATH, which a service may have very short.
SEARCH_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CAP_SYS_RESOURCE: Final = 24
_CNI_BIN_DIRS: Final = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))


class RuntimeUnavailable(Exception):
    """No container runtime can be had on this host; the text says what to do about it."""


def containerd_binary() -> str:
    """The path of containerd. Raises RuntimeUnavailable when it or runc is not installed."""
    found = {name: shutil.which(name) or shutil.which(name, path=SEARCH_PATH) for name in ("containerd", "runc")}
    for name, path in found.items():
        if path is None:
            raise RuntimeUnavailable(
                f"{name} is not installed: apt-get install containerd runc, or name a running one with --containerd-address"
            )
    return str(found["containerd"])


def containerd_version(binary: str) -> Version:
    """(major, minor). Raises RuntimeUnavailable for a containerd that cannot be run or is older than 1.6."""
    try:
        banner = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
        version = parse_version(banner)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise RuntimeUnavailable(f"{binary} --version failed: {error}") from error
    if version < (1, 6):
        raise RuntimeUnavailable(f"{binary} is containerd {version[0]}.{version[1]}; edgekube needs 1.6 or newer (CRI v1)")
    return version


def may_lower_oom_score(status: str | None = None) -> bool:
    """Whether CAP_SYS_RESOURCE is ours. Without it a container cannot be given a lower oom_score_adj than edgekube's own."""
    text = Path("/proc/self/status").read_text() if status is None else status
    for line in text.splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_SYS_RESOURCE & 1)
    return False


@cache
def throttle_paths(cpus: Path = Path("/sys/devices/system/cpu")) -> tuple[str, ...]:
    """How often each processor was too hot, which tells one container what others do: a kubelet hides it."""
    return tuple(sorted(str(path) for path in cpus.glob("cpu*/thermal_throttle")))


def cni_bin_dirs() -> tuple[Path, ...]:
    """Where this distribution keeps the CNI plugins, best first; Debian's place when there are none yet."""
    found = tuple(directory for directory in _CNI_BIN_DIRS if (directory / "host-local").exists())
    return found or _CNI_BIN_DIRS[:1]


def overlay_works(directory: Path) -> bool:
    """Whether overlayfs can be stacked on the file system of ``directory`` (not on NFS, FAT, another overlay or old ZFS)."""
    with tempfile.TemporaryDirectory(prefix="overlay-trial-", dir=directory) as scratch:
        lower, upper, work, merged = (Path(scratch) / name for name in ("lower", "upper", "work", "merged"))
        for path in (lower, upper, work, merged):
            path.mkdir()
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        mounted = subprocess.run(
            ["mount", "-t", "overlay", "-o", options, "overlay", str(merged)], capture_output=True, check=False
        )
        if mounted.returncode != 0:
            return False
        try:
            (merged / "probe").mkdir()
            (merged / "probe").rmdir()
        except OSError:
            return False
        finally:
            subprocess.run(["umount", str(merged)], capture_output=True, check=True)
        return True
