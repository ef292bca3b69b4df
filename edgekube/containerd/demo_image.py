"""Images made of a static busybox: a small web page to try a cluster with, and the plain tool box.

Enters: the path of a statically linked busybox (Debian's busybox-static), which is run once to list its applets.
Leaves: an archive for agent/images/ or ``import_archive``.
Holds: no registry and no network; the same busybox gives the same bytes.
Next: cli, tests.lab.images.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from edgekube.containerd import oci
from edgekube.containerd.oci import Assembled, Entry, Run

DEMO_REFERENCE: Final = "edgekube.local/demo:1"

_PATH: Final = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

# The shell stays PID 1 to hear SIGTERM: the kernel drops signals without a handler for PID 1, and httpd installs none, so a pod
# that ran httpd itself would take its whole grace period to end.
_SERVE: Final = b"""#!/bin/sh
httpd -f -p "${PORT:-8080}" -h /www &
trap 'kill $!; exit 0' TERM INT
echo "serving on port ${PORT:-8080}"
wait
"""

_PAGE: Final = b"""#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
echo "Hello from $(hostname)"
echo
env | grep -v -E '^(HTTP_|REQUEST_|SERVER_|REMOTE_|QUERY_|SCRIPT_|GATEWAY_|CONTENT_|PATH_INFO|REDIRECT_)' | sort
"""


def toolbox_entries(busybox: Path) -> list[Entry]:
    """A root file system with ``busybox`` and a link for each applet it has."""
    listed = subprocess.run([str(busybox), "--list"], capture_output=True, text=True, check=True, timeout=30).stdout.split()
    return [
        Entry("bin/", mode=0o755),
        Entry("bin/busybox", busybox.read_bytes(), mode=0o755),
        *(Entry(f"bin/{applet}", target="busybox") for applet in sorted(set(listed) - {"busybox"})),
        Entry("etc/", mode=0o755),
        Entry("etc/group", b"root:x:0:\nnogroup:x:65534:\n"),
        Entry("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
        Entry("root/", mode=0o700),
        Entry("tmp/", mode=0o1777),
        Entry("usr/", mode=0o755),
        Entry("usr/bin/", mode=0o755),
        Entry("usr/bin/env", target="/bin/busybox"),
    ]


def toolbox(busybox: Path, machine: str | None = None) -> Assembled:
    """The tool box as an image that starts a shell."""
    return oci.assemble([oci.layer(toolbox_entries(busybox))], Run(command=["sh"], env=_PATH), machine)


def demo(busybox: Path, machine: str | None = None) -> Assembled:
    """The web page: port 8080 (or $PORT) shows the pod's name and environment. Runs as any user, writes nothing."""
    page = [
        Entry("www/", mode=0o755),
        Entry("www/healthz", b"ok\n"),
        Entry("www/cgi-bin/", mode=0o755),
        Entry("www/cgi-bin/index.cgi", _PAGE, mode=0o755),
        Entry("bin/serve", _SERVE, mode=0o755),
    ]
    layers = [oci.layer(toolbox_entries(busybox)), oci.layer(page)]
    return oci.assemble(layers, Run(command=["/bin/serve"], env=_PATH, exposed_tcp_ports=[8080]), machine)


def write_demo_archive(busybox: Path, out: Path) -> None:
    """edgekube.local/demo:1 as an OCI archive at ``out``. Raises OSError or CalledProcessError when ``busybox`` is none."""
    oci.write_archive(out, {DEMO_REFERENCE: demo(busybox)})
