"""docs/first-deployment.md, typed by a new user: every command of it, and what it says will be printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.lab.cluster import Cluster

_ROOT = Path(__file__).resolve().parents[2]
_GUIDE = _ROOT / "docs/first-deployment.md"


def test_the_guide_works_as_it_stands(cluster: Cluster) -> None:
    """One shell from the first line to the last; a step's expected lines come in order, ``…`` stands for anything."""
    home = cluster.node.disk / "guide"
    home.mkdir()
    settings = {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "EDGEKUBE_DATA_DIR": str(cluster.node.data_dir),
    }
    shell = subprocess.Popen(
        cluster.node.inside(["env", *(f"{name}={value}" for name, value in settings.items()), "sh", "-e"]),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    with shell:
        assert shell.stdin is not None and shell.stdout is not None
        # Root has no need of it, and may not have it. And a node forwards to a pod a moment after the API has it as Ready.
        shell.stdin.write('sudo() { "$@"; }\ncurl() { command curl --retry 60 --retry-all-errors --retry-delay 1 "$@"; }\n')
        shell.stdin.write(f"cd {home}\n")
        try:
            steps = _steps(_GUIDE.read_text())
            assert len(steps) > 7
            for commands, expected in steps:
                shell.stdin.write(f"{commands}echo '-- done'\n")
                shell.stdin.flush()
                said = ""
                for line in shell.stdout:
                    if line == "-- done\n":
                        break
                    said += line
                else:
                    raise AssertionError(f"{commands}\nended the shell:\n{said}")
                _compare(commands, expected, said)
        finally:
            shell.kill()


def _steps(guide: str) -> list[tuple[str, str]]:
    """(commands, expected lines) of each sh block, with the text block that follows it."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", guide, flags=re.DOTALL | re.MULTILINE)
    steps = []
    for number, (kind, text) in enumerate(blocks):
        if kind == "sh":
            follows = blocks[number + 1] if number + 1 < len(blocks) else ("", "")
            steps.append((text, follows[1] if follows[0] == "text" else ""))
    return steps


def _compare(commands: str, expected: str, said: str) -> None:
    position = 0
    for line in expected.splitlines():
        words = [r"\s+".join(map(re.escape, part.split())) for part in line.split("…")]
        found = re.compile(r"[^\n]*".join(words)).search(said, position)
        assert found, f"{commands}\nshould have said (after what stands before it):\n{line}\nbut said:\n{said}"
        position = found.end()
