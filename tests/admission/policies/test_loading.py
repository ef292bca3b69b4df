"""A server without policies pays for none: CEL is loaded with the first expression."""

from __future__ import annotations

import subprocess
import sys


def test_a_server_that_starts_loads_no_cel() -> None:
    script = (
        "import sys; import edgekube.daemon.server, edgekube.registry.gate, edgekube.reconcile.loops; "
        "print([name for name in sys.modules if name.startswith(('edgekube.api.cel', 'edgekube.api.policy'))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
