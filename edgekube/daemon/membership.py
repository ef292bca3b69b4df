"""Be a member of a cluster: by what a former start left, else by joining, for as long as it takes.

Enters: Settings, the node's files, servers to ask.
Leaves: Membership; JoinRefused when trying again would change nothing, with what a person can do about it.
Holds: a server that is not there yet is waited for and told of; a name that was not chosen is changed when it is taken, never one
that was.
Next: client.joining; daemon.agent.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from edgekube import limits
from edgekube.api.errors import StatusError, unavailable
from edgekube.client.addresses import Address
from edgekube.client.doors import address_of
from edgekube.client.joining import Joined, NotThisCluster, join_with_token
from edgekube.daemon.node_files import Membership, NodeFiles
from edgekube.daemon.refusal import JoinRefused
from edgekube.notify import notify
from edgekube.pki.join_token import JoinToken, TokenUnreadable, parse_token
from edgekube.pki.requests import load_or_create_key, public_key_hash
from edgekube.settings import Settings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

log = logging.getLogger("edgekube.agent")

#: What a server says when asking again would be answered alike.
_FINAL: Final = frozenset({"BadRequest", "Unauthorized", "Forbidden", "Conflict"})
_NAME_TAKEN: Final = "NodeNameTaken"
_SERIAL_FILES: Final = (
    Path("/sys/firmware/devicetree/base/serial-number"),
    Path("/sys/class/dmi/id/product_serial"),
    Path("/sys/class/dmi/id/board_serial"),
)


async def become_member(settings: Settings, files: NodeFiles) -> Membership:
    """At once for a node that has joined before, without a word over the network."""
    files.prepare()
    held = files.load()
    if held is not None:
        if settings.node_name_given and settings.node_name != held.node_name:
            raise JoinRefused(
                f"this machine is node {held.node_name}, not {settings.node_name}: leave --node-name out, or remove the node "
                f"('edgekube node remove {held.node_name}' on the server) and {files.directory}, and join anew"
            )
        return held
    key = await trio.to_thread.run_sync(load_or_create_key, files.key)
    if has_token(settings):
        joined = await _join(settings, key)
    else:
        from edgekube.daemon.pairing import join_by_pairing

        serial = hardware_serial(settings)
        distinct = serial or public_key_hash(key.public_key())
        joined = await join_by_pairing(settings, key, serial, lambda name: another_name(name, distinct))
    await trio.to_thread.run_sync(files.save, joined)
    log.info("joined cluster %s as node %s", joined.facts.name, joined.node_name)
    return Membership(joined.node_name, joined.facts)


async def _join(settings: Settings, key: EllipticCurvePrivateKey) -> Joined:
    pause_seconds = limits.JOIN_RETRY_FIRST_SECONDS
    while True:
        try:
            servers = [address_of(url) for url in settings.server] or await _servers_on_the_lan(settings)
            return await join_once(settings, key, servers)
        except StatusError as error:
            pause_seconds = max(pause_seconds, error.retry_after_seconds)
            _tell(f"waiting for a server to join, trying again in {pause_seconds:.0f} s: {error.message}")
        await trio.sleep(pause_seconds)
        pause_seconds = min(pause_seconds * 2, limits.JOIN_RETRY_LAST_SECONDS)


async def _servers_on_the_lan(settings: Settings) -> Sequence[Address]:
    """Those that announce the CA that the token pins. StatusError ServiceUnavailable while there is none."""
    from edgekube.daemon.pairing import candidate_for

    candidate = await candidate_for(settings, [token_of(settings).authority_hash])
    if candidate is None:
        why = "no server of the token's cluster announces itself on this LAN: name it with --server https://HOST:6443"
        raise unavailable(why)
    return candidate.addresses


async def join_once(settings: Settings, key: EllipticCurvePrivateKey, servers: Sequence[Address]) -> Joined:
    """Ask each server once. Raises JoinRefused, or StatusError with what the last one had for a reason."""
    token = token_of(settings)
    problem = unavailable("no server's address is known")
    for address in servers:
        where = f"{address[0]}:{address[1]}"
        try:
            return await _join_at(address, token, settings, key)
        except NotThisCluster as error:
            problem = unavailable(str(error))
        except StatusError as error:
            if error.reason in _FINAL:
                raise JoinRefused(f"{where} refused this node: {error.message}") from error
            problem = error
        except OSError as error:
            problem = unavailable(f"{where}: {error}")
    raise problem


def _tell(progress: str) -> None:
    log.warning("%s", progress)
    notify(f"STATUS={progress}")


async def _join_at(address: Address, token: JoinToken, settings: Settings, key: EllipticCurvePrivateKey) -> Joined:
    serial = hardware_serial(settings)
    name = settings.node_name
    try:
        return await join_with_token(address, token, name, key, serial)
    except StatusError as error:
        taken = any(cause.reason == _NAME_TAKEN for cause in error.causes)
        if not taken or settings.node_name_given:
            raise
    other = another_name(name, serial or public_key_hash(key.public_key()))
    log.warning("the node name %s is taken by another machine, joining as %s", name, other)
    return await join_with_token(address, token, other, key, serial)


def has_token(settings: Settings) -> bool:
    return bool(settings.token) or settings.token_file is not None


def token_of(settings: Settings) -> JoinToken:
    """Raises JoinRefused. A file is read again each time, so that a new token can be put there while the agent waits."""
    text, source = settings.token, "--token"
    if settings.token_file is not None:
        source = str(settings.token_file)
        try:
            text = settings.token_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise JoinRefused(f"the token file cannot be read: {error}") from error
    if not text:
        raise JoinRefused("no token is given: make one with 'edgekube token create' on the server, and give it by --token-file")
    try:
        return parse_token(text)
    except TokenUnreadable as error:
        raise JoinRefused(f"{source}: {error}") from error


def another_name(name: str, distinct: str) -> str:
    """``name`` with six characters that another machine with this host name does not have."""
    suffix = hashlib.sha256(distinct.encode()).hexdigest()[:6]
    return f"{name[: limits.NODE_NAME_CHARACTERS_MAX - 7].rstrip('-.')}-{suffix}"


def hardware_serial(settings: Settings, files: Sequence[Path] = _SERIAL_FILES) -> str:
    """What the board says of itself; "" when it says nothing."""
    if settings.hardware_serial:
        return settings.hardware_serial
    for path in files:
        try:
            text = path.read_bytes().rstrip(b"\x00\n ").decode("ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if text and text.isprintable() and len(text) <= limits.SERIAL_CHARACTERS_MAX:
            return text
    return ""
