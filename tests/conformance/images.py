"""Stand-ins for the suite's images: no registry is asked.

Enters: agnhost, busybox.
Leaves: images by the names that the suite asks for.
Holds: agnhost is upstream's own program, busybox and the rest of what tests call are Debian's; what else upstream has in its
images (nginx and the like) is not there, and tests that need it fail for that.
Next: tests.conformance.tools.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgekube.containerd import demo_image, oci, pause_image
from edgekube.containerd.oci import Assembled, Entry
from tests.conformance.registries import fake_registry
from tests.conformance.tools import entries as debian_entries
from tests.conformance.tools import fetch
from tests.lab.images import BUSYBOX

_IMAGE = re.compile(r'configs\[(\w+)\] = Config\{list\.(\w+), "([^"]+)", "([^"]+)"\}')
_REGISTRIES = {
    "PromoterE2eRegistry": "registry.k8s.io/e2e-test-images",
    "GcRegistry": "registry.k8s.io",
    "GcEtcdRegistry": "registry.k8s.io",
}


def names(manifest: str) -> dict[str, str]:
    """What the suite calls an image -> its reference, out of test/utils/image/manifest.go. Pure."""
    return {
        key: f"{_REGISTRIES[registry]}/{name}:{version}"
        for key, registry, name, version in _IMAGE.findall(manifest)
        if registry in _REGISTRIES
    }


#: Busybox's shell passes no variable on whose name it could not use itself, and takes its own nc for any other. The suite asks
#: for all variables with just this command; the kernel knows what the shell was given.
_SHELL = """#!{shell}
[ "$*" = "-c env" ] && tr '\\0' '\\n' </proc/$$/environ && exit
exec {again} "$@"
"""


#: Whoever enters a node means its programs; busybox would prefer its own, but for those that are named with their path.
_NSENTER = b"""#!/bin/busybox ash
for word; do
  shift
  [ "$word" = sh ] && word=/bin/sh
  set -- "$@" "$word"
done
export PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
exec busybox nsenter "$@"
"""


#: What the resource consumer runs to use memory: so many bytes are kept by tail, which has not seen a line's end yet.
_STRESS = b"""#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in --vm-bytes) bytes=$2; shift;; -t) seconds=$2; shift;; esac
  shift
done
(head -c "$((${bytes%M} * 1048576))" /dev/zero; sleep "$seconds") | tail >/dev/null
"""


#: What tests pull though it is there.
_PULLED = ("Agnhost", "BusyBox", "Kitten")


def pulled(images: Mapping[str, Assembled], manifest: str) -> dict[str, Assembled]:
    """Those of ``make``'s that a registry must have, by reference."""
    references = {found for key, found in names(manifest).items() if key in _PULLED}
    return {reference: image for reference, image in images.items() if reference in references}


#: Debian's busybox has no printenv.
_PRINTENV = b"""#!/bin/busybox ash
[ $# = 0 ] && exec env
for name; do tr '\\0' '\\n' </proc/$$/environ | grep "^$name=" | cut -d= -f2-; done
"""


#: Nor has it nmeter, whose "%3t" is the time of day to the millisecond.
_NMETER = b"""#!/bin/bash
now=$EPOCHREALTIME
printf '%(%H:%M:%S)T.%.3s\\n' "${now%.*}" "${now#*.}"
"""


#: That of Debian's busybox crashes when it is told a time limit.
_WGET = b"""#!/bin/busybox ash
seconds=0
for word; do
  shift
  if [ "$before" = -T ]; then seconds=$word; before=; continue; fi
  before=$word
  [ "$word" = -T ] || set -- "$@" "$word"
done
[ "$seconds" = 0 ] && exec busybox wget "$@"
exec busybox timeout "$seconds" busybox wget "$@"
"""


def make(programs: Path, manifest: str, certificates: Path) -> dict[str, Assembled]:
    """By reference. ``programs``: where they have been built. ``certificates``: where upstream keeps localhost.crt and its key,
    for servers of TLS."""
    tools = oci.layer(demo_image.toolbox_entries(BUSYBOX))
    fetched = debian_entries(fetch(programs))
    debian = oci.layer(fetched)
    if fetched:
        shell = _SHELL.format(shell="/bin/bash", again="-a sh /bin/bash")
    else:
        shell = _SHELL.format(shell="/bin/busybox ash", again="/bin/busybox ash")
    program = oci.layer([
        Entry("agnhost", (programs / "agnhost").read_bytes(), 0o755),
        Entry("bin/sh", shell.encode(), 0o755),
        Entry("bin/nsenter", _NSENTER, 0o755),
        Entry("bin/wget", _WGET, 0o755),
        Entry("bin/nmeter", _NMETER, 0o755),
        Entry("bin/printenv", _PRINTENV, 0o755),
        Entry("var/", mode=0o755),
        Entry("var/tmp/", mode=0o1777),
        Entry("agnhost-2", target="agnhost"),
        Entry("coredns", (programs / "coredns").read_bytes(), 0o755),
        # Upstream's agnhost has a user of its own, in a group of its own.
        Entry("etc/passwd", b"root:x:0:0::/root:/bin/sh\nuser-defined-in-image:x:1000:1000::/:/bin/sh\n"),
        Entry("etc/group", b"root:x:0:\nuser-defined-in-image:x:1000:\ngroup-defined-in-image:x:50000:user-defined-in-image\n"),
        *(Entry(name, (certificates / name).read_bytes()) for name in ("localhost.crt", "localhost.key")),
    ])  # fmt: skip

    consuming = [
        Entry("consumer", (programs / "consumer").read_bytes(), 0o755),
        Entry("consume-cpu/consume-cpu", (programs / "consume-cpu").read_bytes(), 0o755),
        Entry("bin/stress", _STRESS, 0o755),
    ]
    private = oci.layer(fake_registry("pause", "testing", pause_image.build()))
    #: Says whom it runs as.
    whoami = oci.layer([Entry("usr/local/bin/nnp", (programs / "nnp").read_bytes(), 0o6755)])

    #: What a shell complains of is compared.
    ash = _SHELL.format(shell="/bin/busybox ash", again="-a /bin/sh /bin/busybox")
    own_shell = oci.layer([Entry("bin/sh", ash.encode(), 0o755)])

    def image(note: str, command: list[str], entrypoint: Sequence[str] = (), *more: bytes) -> Assembled:
        # Names of one and the same image are all shown for it: each is an image of its own.
        layers = [tools, debian, program, *more, oci.layer([Entry("note", note.encode())])]
        return oci.assemble(layers, oci.Run(entrypoint, command))

    kitten = [Entry("data.json", b'{"image": "kitten.jpg"}'), Entry("etc/os-release", b'NAME="in place of Alpine Linux"\n')]
    nautilus = [Entry("data.json", b'{"image": "nautilus.jpg"}')]
    serving = ["/agnhost", "netexec", "--http-port=80"]

    def of_program(name: str, place: str) -> Assembled:
        layer = oci.layer([Entry(place, (programs / name).read_bytes(), 0o755)])
        return oci.assemble([tools, layer], oci.Run([f"/{place}"]))

    made = {
        "APIServer": of_program("sample-apiserver", "sample-apiserver"),
        "Etcd": of_program("etcd", "usr/local/bin/etcd"),
        "Agnhost": image("agnhost", ["pause"], ["/agnhost"], private),
        "AgnhostPrev": image("agnhost before", ["pause"], ["/agnhost"]),
        "BusyBox": image("busybox", ["sh"], (), own_shell),
        "GlibcDnsTesting": image("names", ["sh"]),
        "Kitten": oci.assemble([tools, oci.layer(kitten)], oci.Run((), ["sh"])),
        "Nautilus": oci.assemble([tools, program, oci.layer(nautilus)], oci.Run(["/agnhost", "test-webserver"])),
        "Nginx": image("nginx", serving),
        "NginxNew": image("nginx later", serving),
        "NonRoot": oci.assemble([tools, oci.layer([Entry("note", b"nobody")])], oci.Run((), ["sh"], user="1234")),
        "Nonewprivs": oci.assemble([tools, whoami], oci.Run((), ["/usr/local/bin/nnp"])),
        "RegressionIssue74839": of_program("regression", "regression-issue-74839"),
        "ResourceConsumer": oci.assemble([tools, oci.layer(consuming)], oci.Run(["/consumer"])),
        "Pause": image("pause", ["/agnhost", "pause"]),
    }
    found = names(manifest)
    return {found[key]: image for key, image in made.items()}
