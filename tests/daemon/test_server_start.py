"""What a server loads before it answers: a board pays for each module with the time of its start."""

from __future__ import annotations

import json
import subprocess
import sys

_LOADED = "import json, sys, edgekube.cli.server, edgekube.daemon.server; print(json.dumps(sorted(sys.modules)))"


def test_a_server_answers_before_it_loads_the_scheduler_the_node_and_what_only_a_file_asks_for() -> None:
    done = subprocess.run([sys.executable, "-c", _LOADED], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout)
    later = ("scheduler", "controllers.deployment", "agent.images", "containerd.cri", "api.validation.rules")
    assert not [name for name in loaded for part in later if name.startswith(f"edgekube.{part}")]
    libraries = {"cryptography", "zeroconf", "yaml", "jwt", "grpc", "sqlite_utils", "rich"}
    assert not libraries & {name.partition(".")[0] for name in loaded}
