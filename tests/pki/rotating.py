"""One step of a CA rotation in a process of its own, to be killed in the middle of it: ``rotating.py DIRECTORY STEP``."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import Final

from edgekube.pki.authorities import Authorities

NOW: Final = datetime.datetime(2026, 5, 1, tzinfo=datetime.UTC)
STEPS: Final = ("begin", "sign_with_new", "finish")


def main(directory: Path, step: str) -> None:
    authorities = Authorities(directory, NOW)
    getattr(authorities, step)(NOW)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
