"""The ledger on disk, so that a restart gives no device to a second container.

Enters: a Ledger.
Leaves: one private file (a plugin's environment may hold secrets); at start the Ledger as it was, with nobody answering for its
resources yet.
Holds: the file is whole, old or new, and written before a container is told of its devices; only when something changed. A file
that is not readable is put aside and said so.
Next: agent.devices.allotment.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import msgspec
import orjson

from edgekube.agent.devices.ledger import Ledger, Offer
from edgekube.agent.devices.model import Given, Holding
from edgekube.pki.files import PRIVATE, replace_whole

log = logging.getLogger("edgekube.agent")


def packed(ledger: Ledger) -> bytes:
    pods = {
        uid: {
            container: {
                resource: {"ids": sorted(holding.ids), "given": msgspec.to_builtins(holding.given)}
                for resource, holding in of.items()
            }
            for container, of in containers.items()
        }
        for uid, containers in ledger.held.items()
    }
    head = {"version": 1, "resources": sorted(ledger.offers), "given_up": sorted(ledger.given_up)}
    return orjson.dumps({**head, "pods": pods}, option=orjson.OPT_SORT_KEYS)


def unpacked(raw: bytes) -> Ledger:
    """Raises ValueError."""
    try:
        data: dict[str, Any] = orjson.loads(raw)
        ledger = Ledger({name: Offer(present=False) for name in data["resources"]}, given_up=set(data["given_up"]))
        for uid, containers in data["pods"].items():
            for container, of in containers.items():
                for resource, holding in of.items():
                    given = msgspec.convert(holding["given"], Given)
                    ledger.held.setdefault(uid, {}).setdefault(container, {})[resource] = Holding(
                        frozenset(map(str, holding["ids"])), given
                    )
    except (KeyError, TypeError, AttributeError, msgspec.ValidationError) as error:
        raise ValueError(f"not a checkpoint of devices: {error}") from None
    return ledger


def read(path: Path) -> Ledger:
    try:
        return unpacked(path.read_bytes())
    except FileNotFoundError:
        return Ledger()
    except (OSError, ValueError) as error:
        log.warning("checkpoint of devices is not readable, going on without path=%s error=%s", path, error)
        try:
            path.replace(path.with_name(path.name + ".unreadable"))
        except OSError:
            pass
        return Ledger()


def write(path: Path, raw: bytes) -> None:
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    replace_whole(path, raw, PRIVATE)
