"""New certificates put in the place of old ones in a process of its own, to be killed in the middle: ``moving.py DIRECTORY``."""

from __future__ import annotations

import sys
from pathlib import Path

from edgekube.api.cluster_facts import facts_from
from edgekube.client.joining import Joined
from edgekube.daemon.node_files import NodeFiles


def main(directory: Path) -> None:
    files = NodeFiles(directory)
    held = files.load()
    assert held is not None
    client, serving = (directory / name for name in ("answer-client.crt", "answer-serving.crt"))
    files.save_renewed(Joined(held.node_name, client.read_text(), serving.read_text(), facts_from(held.facts.as_data())))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
