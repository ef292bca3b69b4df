"""Writes one after the other, as structured-merge-diff itself answered them (sequences.json)."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from edgekube.api.errors import StatusError
from edgekube.api.managed import entries as listed
from edgekube.api.managed import updater
from edgekube.api.managed.conflicts import Conflicts
from edgekube.api.managed.entries import APPLY, BEFORE_FIRST_APPLY, UPDATE, key_of
from edgekube.api.objects import Object
from tests.api.managed.model import RECORDED, SAID, VERSION, OneVersion

NOW = "2026-01-01T00:00:00Z"


def write(live: Object | None, step: Any) -> Object:
    """The object that the step leaves. StatusError, Conflicts."""
    versions, sub = OneVersion(step["sub"]), step["sub"]
    old = copy.deepcopy(live or {**SAID, "metadata": {}})
    entries = listed.read(old["metadata"].pop("managedFields", None))
    new = copy.deepcopy(step["object"])
    if step["op"] == "update":
        if entries or live is None:
            key = key_of(step["manager"], UPDATE, VERSION, sub)
            entries = updater.update(versions, old, new, VERSION, entries, key, NOW, reconcile=True)
    else:
        if live is not None and not entries:
            first = key_of(BEFORE_FIRST_APPLY, UPDATE, VERSION, sub)
            blank: Object = {**SAID, "metadata": {}}
            entries = updater.update(versions, blank, old, VERSION, entries, first, NOW, reconcile=False)
        key = key_of(step["manager"], APPLY, VERSION, sub)
        done = updater.apply(versions, old, new, VERSION, entries, key, NOW, force=step["force"])
        new, entries = done.object if done.object is not None else old, done.entries
    written = listed.write(entries)
    return {**new, "metadata": {**new["metadata"], **({"managedFields": written} if written else {})}}


def comparable(obj: Object) -> Any:
    """Without times, and in an order that does not depend on them."""
    metadata = dict(obj["metadata"])
    found = [{key: value for key, value in each.items() if key != "time"} for each in metadata.pop("managedFields", None) or ()]
    found.sort(key=lambda each: (each["operation"], each["manager"], each.get("subresource", "")))
    return metadata, found, obj.get("spec"), obj.get("status")


@pytest.mark.parametrize("number", range(len(RECORDED["sequences"])))
def test_as_upstream(number: int) -> None:
    sequence = RECORDED["sequences"][number]
    live: Object | None = None
    for step, wanted in zip(sequence["ops"], sequence["want"], strict=True):
        try:
            live = write(live, step)
        except Conflicts as conflicts:
            assert sorted(conflicts.status().message.split("\n")) == sorted(wanted["error"].split("\n"))
        except StatusError:
            assert "error" in wanted
        else:
            assert comparable(live) == comparable({**SAID, **wanted["object"]})
