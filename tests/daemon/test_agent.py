"""What an agent is made of: a board with 512 MB pays for each library for as long as it runs."""

from __future__ import annotations

import json
import subprocess
import sys

_LOADED = "import json, sys, edgekube.cli.agent, edgekube.daemon.agent; print(json.dumps(sorted(sys.modules)))"
_CONTROL_PLANE = ("registry", "store", "server", "controllers", "scheduler", "admission")


def test_an_agent_loads_nothing_of_the_control_plane_nor_what_only_joining_needs() -> None:
    done = subprocess.run([sys.executable, "-c", _LOADED], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout)
    assert not [name for name in loaded for part in _CONTROL_PLANE if name.startswith(f"edgekube.{part}")]
    # What an archive, a driver, a static pod or somebody with a browser asks for comes when it is asked for.
    seldom = {"edgekube.api.validation.rules", "edgekube.containerd.image_store", "tarfile", "html", "grpc.aio._call"}
    assert not seldom & {*loaded}
    assert not {"cryptography", "zeroconf", "yaml", "jwt", "sqlite3", "rich", "hpack"} & {
        name.partition(".")[0] for name in loaded
    }
