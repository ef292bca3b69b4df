"""Build kube-apiserver and its etcd out of Kubernetes' Go module.

Enters: a version, a directory; the same as of tests.conformance.building.
Leaves: both programs there; what is there already is not built again.
Next: tests.upstream.servers.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.conformance.building import MODULE, module_directory, requirements


def build(directory: Path, version: str) -> None:
    """subprocess.CalledProcessError when Go cannot."""
    directory.mkdir(parents=True, exist_ok=True)
    source = module_directory(version)
    (directory / "go.mod").write_text(requirements((source / "go.mod").read_text(), version))
    (directory / "go.sum").write_text((source / "go.sum").read_text())
    told = "k8s.io/component-base/version"
    major, minor, _ = version.split(".")
    own = f"-X {told}.gitVersion=v{version} -X {told}.gitMajor={major} -X {told}.gitMinor={minor}"
    environment = {**os.environ, "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"}
    for program, package in (("kube-apiserver", f"{MODULE}/cmd/kube-apiserver"), ("etcd", "go.etcd.io/etcd/server/v3")):
        if not (directory / program).exists():
            command = ["go", "build", f"-ldflags=-s -w {own}", "-o", program, package]
            subprocess.run(command, check=True, cwd=directory, env=environment)
