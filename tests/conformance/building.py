"""Build the suite and the programs that its pods run, out of the Go module k8s.io/kubernetes.

Enters: a version of Kubernetes, a directory to build in.
Leaves: e2e.test and what its images run (agnhost, a sample API server and its etcd, …) in that directory; what is there already
is not built again.
Holds: nothing of Kubernetes comes into this tree: the module is fetched by ``go`` when somebody asks for it. It takes some ten
minutes of two cores, and 1.5 GB in Go's caches.
Next: tests.conformance.running.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

MODULE = "k8s.io/kubernetes"
#: The API level that the server says it has.
VERSION = "1.36.2"
_OWN = "k8s.io/component-base/version.gitVersion"
#: Upstream has a release of it in the image agnhost, for tests that bring a name server of their own.
DNS_SERVER = "github.com/coredns/coredns@v1.11.1"


def module_directory(version: str) -> Path:
    """Where Go keeps the module's source; fetched if need be."""
    told = subprocess.run(
        ["go", "mod", "download", "-json", f"{MODULE}@v{version}"], check=True, capture_output=True, cwd="/", text=True
    )
    return Path(json.loads(told.stdout)["Dir"])


def requirements(go_mod: str, version: str, more: Mapping[str, str] | None = None) -> str:
    """A module that needs Kubernetes as Kubernetes needs the rest: its staging modules under their published versions. Pure.
    ``more``: modules -> versions that it needs besides."""
    staging = "v0." + version.partition(".")[2]
    needed = "\n".join(re.findall(r"^require \((.*?)^\)", go_mod, re.MULTILINE | re.DOTALL))
    needed = re.sub(r" v0\.0\.0(?=\s)", f" {staging}", needed)
    replaced = "".join(
        f"\t{name} => {name} {staging}\n" for name in re.findall(r"^\s*(\S+) => \./staging/", go_mod, re.MULTILINE)
    )
    go = re.search(r"^go (\S+)$", go_mod, re.MULTILINE)
    assert go is not None
    head = f"module edgekube.test/conformance\n\ngo {go[1]}\n\n"
    besides = "".join(f"\t{name} {wanted}\n" for name, wanted in (more or {}).items())
    return f"{head}require (\n\t{MODULE} v{version}\n{besides}{needed})\n\nreplace (\n{replaced})\n"


def build(directory: Path, version: str, suite: str = "e2e.test") -> None:
    """``suite``: e2e.test or e2e_node.test. subprocess.CalledProcessError when Go cannot."""
    directory.mkdir(parents=True, exist_ok=True)
    source = module_directory(version)
    (directory / "go.mod").write_text(requirements((source / "go.mod").read_text(), version))
    (directory / "go.sum").write_text((source / "go.sum").read_text())
    (directory / "empty.go").write_text('package conformance\n\nimport _ "github.com/onsi/ginkgo/v2/ginkgo/command"\n')
    environment = {**os.environ, "GOFLAGS": "-mod=mod", "GOBIN": str(directory)}
    for program, command in (
        (suite, ["go", "test", "-c", "-ldflags=-s -w", "-o", suite, f"{MODULE}/test/{suite.removesuffix('.test')}"]),
        # It refuses to tell two versions when its own is none.
        ("kubectl", ["go", "build", f"-ldflags=-s -w -X {_OWN}=v{version}", "-o", "kubectl", f"{MODULE}/cmd/kubectl"]),
        ("ginkgo", ["go", "build", "-ldflags=-s -w", "-o", "ginkgo", "github.com/onsi/ginkgo/v2/ginkgo"]),
        ("agnhost", ["go", "build", "-ldflags=-s -w", "-o", "agnhost", f"{MODULE}/test/images/agnhost"]),
        ("nnp", ["go", "build", "-ldflags=-s -w", "-o", "nnp", f"{MODULE}/test/images/nonewprivs"]),
        ("coredns", ["go", "install", "-ldflags=-s -w", DNS_SERVER]),
        ("sample-apiserver", ["go", "build", "-ldflags=-s -w", "-o", "sample-apiserver", "k8s.io/sample-apiserver"]),
        ("etcd", ["go", "build", "-ldflags=-s -w", "-o", "etcd", "go.etcd.io/etcd/server/v3"]),
        ("consumer", ["go", "build", "-ldflags=-s -w", "-o", "consumer", f"{MODULE}/test/images/resource-consumer"]),
        (
            "regression",
            ["go", "build", "-ldflags=-s -w", "-o", "regression", f"{MODULE}/test/images/regression-issue-74839"],
        ),
        (
            "consume-cpu",
            ["go", "build", "-ldflags=-s -w", "-o", "consume-cpu", f"{MODULE}/test/images/resource-consumer/consume-cpu"],
        ),
    ):
        if not (directory / program).exists():
            subprocess.run(command, check=True, cwd=directory, env={**environment, "CGO_ENABLED": "0"})
