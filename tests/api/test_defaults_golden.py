"""Golden files: an object as it is sent, and as it is stored. Each file has the two documents, one below the other."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from edgekube.api.defaults import apply_defaults
from edgekube.api.kinds import KINDS

_FILES = sorted((Path(__file__).parent / "golden" / "defaults").glob("*.yaml"))


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.stem)
def test_what_is_sent_becomes_what_is_stored(path: Path) -> None:
    sent, stored = yaml.safe_load_all(path.read_text())
    kind = KINDS.by_kind(sent["apiVersion"], sent["kind"])
    assert kind is not None
    apply_defaults(kind, sent)
    assert sent == stored


def test_there_are_golden_files_for_the_kinds_people_write() -> None:
    assert len(_FILES) >= 30
