"""The programs that the suite's tests call inside of its images: nc, dig, getent, curl, ss, bash.

Enters: a directory to keep packages in.
Leaves: the files of Debian's packages of them, with all that these need, as entries of a layer.
Holds: packages come through apt, as for any user of this machine, and nothing is installed here. What is there is not fetched
again. Where there is no apt, tests that need these programs fail for that.
Next: tests.conformance.images.
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Final

from edgekube.containerd.oci import Entry

PACKAGES: Final = ("netcat-openbsd", "bind9-dnsutils", "curl", "libc-bin", "iproute2", "bash")
#: What no program reads.
_USELESS: Final = ("usr/share/doc/", "usr/share/man/", "usr/share/locale/", "usr/share/i18n/", "usr/lib/locale/", "var/", "etc/")
#: Busybox has them, too, with fewer options.
_INSTEAD: Final = {"bin/nc": "nc.openbsd"}


def fetch(directory: Path) -> Path:
    """The directory with the packages; empty where there is no apt."""
    archives = directory / "packages"
    if archives.exists() or shutil.which("apt-get") is None:
        archives.mkdir(parents=True, exist_ok=True)
        return archives
    coming = directory / "packages.coming"
    (coming / "partial").mkdir(parents=True, exist_ok=True)
    nothing_installed = coming / "status"
    nothing_installed.touch()
    options = (f"Dir::State::status={nothing_installed}", f"Dir::Cache::archives={coming}/", "APT::Sandbox::User=root")
    flags = [part for option in options for part in ("-o", option)]
    command = ["apt-get", "-yqq", "--download-only", "--no-install-recommends", *flags, "install", *PACKAGES]
    subprocess.run(command, check=True)
    return coming.rename(archives)


def entries(archives: Path) -> list[Entry]:
    found: dict[str, Entry] = {}
    for package in sorted(archives.glob("*.deb")):
        opened = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE)
        assert opened.stdout is not None
        with tarfile.open(fileobj=opened.stdout, mode="r|") as tar:
            for member in tar:
                path = member.name.removeprefix("./").strip("/")
                if not path or path.startswith(_USELESS) or f"{path}/" in _USELESS:
                    continue
                if member.isdir():
                    found.setdefault(f"{path}/", Entry(f"{path}/", mode=0o755))
                elif member.issym():
                    found[path] = Entry(path, target=member.linkname)
                elif member.isreg() and (file := tar.extractfile(member)) is not None:
                    found[path] = Entry(path, file.read(), member.mode & 0o777)
        if opened.wait() != 0:
            raise RuntimeError(f"{package} cannot be opened")
    if found:
        found |= {path: Entry(path, target=target) for path, target in _INSTEAD.items()}
        # Not "files mymachines": only what glibc has itself.
        found["etc/nsswitch.conf"] = Entry("etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files dns\n")
    return [found[path] for path in sorted(found)]
