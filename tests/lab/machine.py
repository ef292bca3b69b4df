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
from tests.lab.node import Node
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
for part in sys dev; do mount --rbind /$part "$root/$part"; done
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
# A shell that waits reaps whatever is given to it; bare machines have nothing else.
echo up
while :; do sleep 1000 & wait; done
"""


class Machine(Node):
    """``shown``: directory of the host -> where the machine sees it (it may write there; give it copies).
    ``root``: what lies below the overlay; another distribution's root file system makes a machine of that distribution."""

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
        boot = ["sh", "-c", _BOOT, "boot", str(self._root), str(image), str(mount), self.name, *pairs]
        unshare = ["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"]
        enter = ["nsenter", f"--net=/run/netns/{self.namespace}"]
        self._init = subprocess.Popen([*enter, *unshare, *boot], stdout=subprocess.PIPE, stderr=sys.stderr, text=True)
        assert self._init.stdout is not None
        assert self._init.stdout.readline() == "up\n", f"{self.name} did not boot"

    def shell(self, script: str, *, check: bool = True, timeout_seconds: float = 60) -> str:
        """Standard output of a root login's shell script, in an environment as bare as a first login's."""
        environment = [
            "env",
            "-i",
            "HOME=/root",
            "LANG=C.UTF-8",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ]
        return self.run([*environment, "sh", "-c", script], check=check, timeout_seconds=timeout_seconds)
