"""Registries for tests that pull: a mirror of registry.k8s.io on each node, and what upstream's own fake registry serves.

Enters: the nodes of the lab, images by their references.
Leaves: nodes whose pulls from registry.k8s.io are answered by Debian's docker-registry on their own loopback; files for the
fake registry's image.
Holds: what the mirror has not is asked for where it should come from, which is nowhere here. No docker-registry: no pulls.
Source: test/images/agnhost/fakeregistryserver (how its files lie).
Next: tests.lab.registry.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import PurePosixPath

import orjson

from edgekube.containerd.oci import INDEX, MANIFEST, Assembled, Entry, digest_of
from tests.lab.node import Node
from tests.lab.registry import serving

HOST = "registry.k8s.io"
PORT = 5099
_CONFIGURATION = f"mirrors:\n  {HOST}:\n    endpoint: [http://127.0.0.1:{PORT}]\n"


@contextmanager
def mirrored(nodes: Sequence[Node], images: Mapping[str, Assembled]) -> Iterator[None]:
    """``images`` by reference, of which those of HOST are served."""
    with ExitStack() as stack:
        for node in nodes if shutil.which("docker-registry") else ():
            registry = stack.enter_context(serving(node, PORT))
            for reference, image in images.items():
                name, _, tag = reference.removeprefix(f"{HOST}/").rpartition(":")
                registry.push(name, tag, image)
            write = "mkdir -p /etc/edgekube && cat >/etc/edgekube/registries.yaml"
            node.run(["sh", "-c", write], stdin=_CONFIGURATION)
        yield


def fake_registry(name: str, tag: str, image: Assembled) -> list[Entry]:
    """/var/registry of the fake registry, with one image, as an index of one machine's. Pure."""
    described = {
        "mediaType": MANIFEST,
        "digest": image.manifest,
        "size": len(image.blobs[image.manifest]),
        "platform": {"os": "linux", "architecture": image.architecture},
    }
    index = orjson.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [described]})
    files = {f"manifests/{tag}": digest_of(index).encode(), _place("manifests", digest_of(index)): index}
    for digest, data in image.blobs.items():
        files[_place("manifests" if digest == image.manifest else "blobs", digest)] = data
    entries = [Entry(f"var/registry/{name}/{path}", data) for path, data in files.items()]
    # Somebody who is not root reads them.
    directories = {f"{parent}/" for entry in entries for parent in PurePosixPath(entry.path).parents if parent.name}
    return [*(Entry(directory, mode=0o755) for directory in sorted(directories)), *entries]


def _place(base: str, digest: str) -> str:
    algorithm, _, sha = digest.partition(":")
    return f"{base}/{algorithm}/{sha[:2]}/{sha}/data"
