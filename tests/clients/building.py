"""Clients that have to be built: from source beside this, with the toolchain and the caches of whoever runs the tests.

Enters: what to build. Leaves: the program's path, or the test is skipped in one line: no toolchain, or no registry to fetch from.
Holds: what is up to date is not built again (tests/clients/.built); builds give way to the tests beside them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

HERE: Final = Path(__file__).parent
BUILT: Final = HERE / ".built"
#: On one core of a small machine, with nothing built before.
_BUILD_SECONDS: Final = 1800
#: kubectl compares its own version with the server's.
_VERSION: Final = "-X k8s.io/component-base/version.gitVersion=v1.36.5"


def go(package: str) -> Path:
    """A program of the Go module in go/, or of a module that it requires."""
    return _built(
        package,
        HERE / "go",
        fetch=["go", "mod", "download"],
        # Neither inlined nor with debug information: building is what costs here.
        build=["go", "build", "-gcflags=all=-l", f"-ldflags=-s -w {_VERSION}", "-o", f"{BUILT}/", package],
        name=package.rpartition("/")[2],
    )


def rust() -> Path:
    return _built(
        "the Rust client",
        HERE / "rust",
        fetch=["cargo", "fetch", "--locked"],
        build=["cargo", "build", "--locked", "--target-dir", str(BUILT / "rust")],
        name="rust/debug/client",
    )


def java() -> Path:
    """A directory with the classes of java/ and, in lib/, what they need."""
    made = BUILT / "java"
    return _built(
        "the Java clients",
        HERE / "java",
        fetch=["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={made / 'lib'}"],
        build=[
            "javac",
            "-cp",
            f"{made / 'lib'}/*",
            "-d",
            str(made),
            *sorted(path.name for path in (HERE / "java").glob("*.java")),
        ],
        name="java",
    )


def _built(what: str, folder: Path, *, fetch: list[str], build: list[str], name: str) -> Path:
    tool = fetch[0]
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed: {what} cannot be built")
    BUILT.mkdir(exist_ok=True)
    fetched = _run(fetch, folder)
    if fetched.returncode:
        pytest.skip(
            f"{tool} cannot fetch what {what} needs: {(fetched.stderr.strip() or 'it does not say why').splitlines()[-1]}"
        )
    made = _run(build, folder)
    assert made.returncode == 0, f"{what} does not build\n{made.stderr[-4000:]}"
    return BUILT / name


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    # A build has the environment of the user: caches, proxies, flags.
    environment = {**os.environ, "CARGO_TERM_COLOR": "never"}
    return subprocess.run(
        ["nice", "-n", "10", *command],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False,
    )  # fmt: skip
