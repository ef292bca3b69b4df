"""Steps of a pod that the machine does not let happen."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from edgekube.agent.context import NodeContext
from edgekube.agent.execute import Executor
from edgekube.agent.names import PodPaths
from edgekube.api.objects import Object


async def test_directories_that_cannot_be_made_are_told_of(tmp_path: Path) -> None:
    pod: Object = {"metadata": {"name": "web", "namespace": "default", "uid": "u1"}, "spec": {"containers": []}}
    (tmp_path / "agent").write_text("in the way")
    paths = PodPaths(tmp_path / "agent", tmp_path / "logs", "default", "web", "u1")
    told: list[tuple[Any, ...]] = []
    node = SimpleNamespace(paths=lambda pod: paths, event=lambda pod, *event: told.append(event))
    with pytest.raises(NotADirectoryError):
        await Executor(cast(NodeContext, node)).prepare(pod, ())
    [(kind, reason, message)] = told
    assert (kind, reason) == ("Warning", "Failed")
    assert message.startswith("error making pod data directories: [Errno 20] Not a directory: ")
