"""``edgekube agent`` on a lab node.

Enters: a Node that is on, the server's URL or "" (found by mDNS), a token. Leaves: the agent's life as tests.lab.program has it.
Holds: the token is in a file that only root reads, never on a command line. Next: tests.lab.clusters.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.lab.node import Node
from tests.lab.program import Program


class Agent(Program):
    noun = "agent"

    def __init__(self, node: Node, *, server: str, token: str, arguments: Sequence[str] = ()) -> None:
        token_file = node.disk / "token"
        node.disk.mkdir(parents=True, exist_ok=True)
        token_file.touch(mode=0o600)
        token_file.write_text(token)
        where = ["--server", server] if server else []
        super().__init__(node, arguments=[*where, "--token-file", str(token_file), *arguments])
