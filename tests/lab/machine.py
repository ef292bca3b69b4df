"""A whole machine to install on: the host's own root under an overlay, so that every change lands on a disk that goes away.

Enters: a Lan, a name, a file for its disk, directories to show inside.
Leaves: a Node whose /opt, /usr, /etc, /var and /tmp are its own; PID 1 is not systemd.
Holds: nothing of what runs inside is left on the host: the disk is a file, mounted in the machine's own mount namespace.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.lab.lan import Lan
from tests.lab.node import WITHOUT_CLOCK, Node
from tests.lab.shell import run

_DISK_BYTES: Final = 4 * 1024**3

#: $1 root below the overlay, $2 disk, $3 mount point, $4 host name; then pairs of a directory and where it is shown.
#: The data directory is a disk of its own: overlayfs, which containerd needs, cannot be stacked on an overlay.
_BOOT: Final = """
set -e
lower=$1 disk=$2 mnt=$3 name=$4
shift 4
mount --make-rprivate /
mount -o loop "$disk" "$mnt"
mkdir -p "$mnt/upper" "$mnt/work" "$mnt/data" "$mnt/root"
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$mnt/upper,workdir=$mnt/work" "$mnt/root"
root=$mnt/root
mount --rbind /dev "$root/dev"
{sys}
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mkdir -p "$root/run/netns" "$root/var/lib/edgekube"
mount --bind "$mnt/data" "$root/var/lib/edgekube"
while [ $# -gt 0 ]; do
    mkdir -p "$root$2"
    mount --bind "$1" "$root$2"
    shift 2
done
mount -t proc proc "$root/proc"
cd "$root"
mkdir -p run/host
pivot_root . run/host
umount -l /run/host
mount --make-rshared /
hostname "$name"
{init}
"""

_HOSTS_SYS: Final = 'mount --rbind /sys "$root/sys"'

_SHELL: Final = """
# A shell that waits reaps whatever is given to it; bare machines have nothing else.
echo up
while :; do sleep 1000 & wait; done
"""


class Machine(Node):
    """``shown``: directory of the host -> where the machine sees it (it may write there; give it copies).
    ``root``: what lies below the overlay; another distribution's root file system makes a machine of that distribution."""

    _init_script = _SHELL
    _sys_script = _HOSTS_SYS
    _more_namespaces: tuple[str, ...] = ()

    def __init__(
        self, lan: Lan, name: str, address: str, disk: Path, shown: Mapping[Path, str], *, root: Path = Path("/")
    ) -> None:
        super().__init__(lan, name, address, disk)
        self._shown = shown
        self._root = root

    def power_on(self) -> None:
        image, mount = self.disk / "disk.img", self.disk / "mnt"
        if not image.exists():
            mount.mkdir(parents=True, exist_ok=True)
            with image.open("wb") as file:
                file.truncate(_DISK_BYTES)
            run(["mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=1", str(image)])
        pairs = [text for source, target in self._shown.items() for text in (str(source), target)]
        script = _BOOT.replace("{init}", self._init_script).replace("{sys}", self._sys_script)
        boot = ["sh", "-c", script, "boot", str(self._root), str(image), str(mount), self.name, *pairs]
        unshare = ["unshare", *self._more_namespaces, "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"]
        enter = [*self._prelude(), *WITHOUT_CLOCK, "nsenter", f"--net=/run/netns/{self.namespace}"]
        self._init = subprocess.Popen([*enter, *unshare, *boot], stdout=subprocess.PIPE, stderr=sys.stderr, text=True)
        assert self._init.stdout is not None
        assert self._init.stdout.readline() == "up\n", f"{self.name} did not boot"

    def _prelude(self) -> list[str]:
        """What the boot is run by."""
        return []

    def shell(self, script: str, *, check: bool = True, timeout_seconds: float = 150) -> str:
        """Standard output of a root login's shell script, in an environment as bare as a first login's."""
        environment = [
            "env",
            "-i",
            "HOME=/root",
            "LANG=C.UTF-8",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ]
        return self.run([*environment, "sh", "-c", script], check=check, timeout_seconds=timeout_seconds)


#: Host's units stay out: only what Debian's systemd package brings runs, less what belongs to hardware.
_MASKED: Final = """
    console-getty.service getty.target systemd-udevd.service systemd-udev-trigger.service systemd-udevd-control.socket
    systemd-udevd-kernel.socket sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount dev-hugepages.mount
    dev-mqueue.mount proc-sys-fs-binfmt_misc.automount systemd-binfmt.service systemd-sysctl.service
    systemd-modules-load.service systemd-remount-fs.service systemd-logind.service systemd-timesyncd.service
    systemd-networkd.service systemd-resolved.service systemd-pstore.service tmp.mount
"""

_SYSTEMD: Final = f"""
mount -t tmpfs tmpfs /etc/systemd/system
for unit in {" ".join(_MASKED.split())}; do ln -s /dev/null /etc/systemd/system/$unit; done
: >/etc/fstab
echo "$name" >/etc/hostname
echo up
exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --show-status=no --log-target=null
"""

#: The same hierarchies as the host's, seen from the machine's own cgroup on.
_OWN_CGROUPS: Final = """
mount -t sysfs sysfs "$root/sys"
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
    mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
    for hierarchy in /sys/fs/cgroup/*; do
        controller=${hierarchy##*/}
        mkdir "$root/sys/fs/cgroup/$controller"
        case $controller in
            unified) mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/unified" ;;
            systemd) mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd" ;;
            *) mount -t cgroup -o "$controller" cgroup "$root/sys/fs/cgroup/$controller" ;;
        esac
    done
fi
"""

#: Into a cgroup of the machine's own, in every hierarchy, before its cgroup namespace begins there. $1: the cgroup.
_ENTER_CGROUPS: Final = """
set -e
cgroup=$1
shift
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/*; do
    [ -e "$hierarchy/cgroup.procs" ] && [ ! -L "$hierarchy" ] || continue
    [ "$hierarchy" = /sys/fs/cgroup ] || [ ! -e /sys/fs/cgroup/cgroup.controllers ] || continue
    mkdir -p "$hierarchy$cgroup"
    for file in cpuset.cpus cpuset.mems; do
        # cgroup v1: an empty cpuset takes no process.
        [ ! -e "$hierarchy/$file" ] || cat "$hierarchy/$file" >"$hierarchy$cgroup/$file"
    done
    echo $$ >"$hierarchy$cgroup/cgroup.procs"
done
exec "$@"
"""


class SystemdMachine(Machine):
    """A machine whose PID 1 is the host's systemd, with cgroups of its own."""

    _init_script = _SYSTEMD
    _sys_script = _OWN_CGROUPS
    _more_namespaces = ("--cgroup",)

    def _prelude(self) -> list[str]:
        return ["sh", "-c", _ENTER_CGROUPS, "enter", self.cgroup]
