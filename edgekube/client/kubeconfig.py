"""Read a kubeconfig (v1 Config) into a Target.

Enters: a file as kubectl reads it, or its bytes: clusters, users, contexts; certificates inline or as files beside it.
Leaves: Target, or a Collector for webhooks' configurations of the same form; KubeconfigError names the file and the part that is
wrong.
Holds: inline keys never touch a disk (they reach OpenSSL through a memory file); what is not supported (exec plugins, auth
providers, passwords, no verification) is refused by name.
Next: client.remote, server.audit_webhook.
"""

from __future__ import annotations

import base64
import binascii
import functools
import os
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

from edgekube.client.target import Target
from edgekube.wire.tls import client_context, foreign_client_context


class KubeconfigError(ValueError):
    """The kubeconfig does not say how to reach a cluster."""


def load_kubeconfig(path: Path | str, context: str = "") -> Target:
    """The target of ``context`` (default: current-context). Files are read again for each new connection, so that what rotates on
    disk is taken up."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise KubeconfigError(f"{path}: {error.strerror}") from error
    return parse_kubeconfig(data, context, base=path.parent, source=str(path))


def parse_kubeconfig(data: bytes, context: str = "", *, base: Path | None = None, source: str = "kubeconfig") -> Target:
    cluster, user, names = _chosen(data, context, source)
    url = urlsplit(str(cluster.get("server") or ""))
    if url.scheme != "https" or not url.hostname:
        raise KubeconfigError(f"{source}: cluster {names.get('cluster')}: server must be https://HOST[:PORT]")
    if url.path.strip("/"):
        raise KubeconfigError(f"{source}: cluster {names.get('cluster')}: a path in server is not supported")
    address = (url.hostname, url.port or 443)
    base = base or Path()
    authority = _part(cluster, "certificate-authority", base, source)
    certificate = _part(user, "client-certificate", base, source)
    key = _part(user, "client-key", base, source)
    if authority is None:
        raise KubeconfigError(f"{source}: cluster {names.get('cluster')}: no certificate-authority")
    if (certificate is None) != (key is None):
        raise KubeconfigError(f"{source}: user {names.get('user')}: client-certificate and client-key belong together")

    make_context = functools.partial(_make_context, authority, certificate, key, source)
    make_context()  # say now what is wrong with it
    server_name = str(cluster.get("tls-server-name") or url.hostname)
    return Target(lambda: address, make_context, server_name, _token(user, base, source))


class Collector(Struct, frozen=True):
    """A server of somebody else's that is told something: where, and who we are to it."""

    url: SplitResult
    context: Callable[[], ssl.SSLContext] | None  # None: plain HTTP
    token: Callable[[], str] | None


def load_collector(path: Path) -> Collector:
    """A webhook's configuration in the form of a kubeconfig. KubeconfigError."""
    source = str(path)
    try:
        cluster, user, _ = _chosen(path.read_bytes(), "", source)
    except OSError as error:
        raise KubeconfigError(f"{source}: {error.strerror}") from error
    url = urlsplit(str(cluster.get("server") or ""))
    if url.scheme not in ("https", "http") or not url.hostname:
        raise KubeconfigError(f"{source}: server must be https://HOST[:PORT]/PATH")
    for unsupported in ("tls-server-name", "proxy-url"):
        if unsupported in cluster:
            raise KubeconfigError(f"{source}: {unsupported} is not supported")
    token = _token(user, path.parent, source)
    if url.scheme == "http":
        return Collector(url, None, token)
    authority = _part(cluster, "certificate-authority", path.parent, source)
    certificate, key = (_part(user, name, path.parent, source) for name in ("client-certificate", "client-key"))
    if (certificate is None) != (key is None):
        raise KubeconfigError(f"{source}: client-certificate and client-key belong together")
    make_context = functools.partial(_foreign_context, authority, certificate, key, source)
    make_context()  # say now what is wrong with it
    return Collector(url, make_context, token)


def _foreign_context(
    authority: Callable[[], bytes] | None,
    certificate: Callable[[], bytes] | None,
    key: Callable[[], bytes] | None,
    source: str,
) -> ssl.SSLContext:
    try:
        context = foreign_client_context(authority() if authority is not None else None)
        if certificate is not None and key is not None:
            load_pair(context, certificate(), key())
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise KubeconfigError(f"{source}: {error}") from error
    return context


def _chosen(data: bytes, context: str, source: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The cluster and the user of a context, and what they are called."""
    import yaml  # 2 MB that only a program which reads a kubeconfig pays

    try:
        config = yaml.load(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise KubeconfigError(f"{source}: {error}") from error
    if not isinstance(config, dict):
        raise KubeconfigError(f"{source}: not a kubeconfig")
    name = context or config.get("current-context") or ""
    if not name:
        raise KubeconfigError(f"{source}: no current-context")
    chosen = _named(config, "contexts", "context", name, source)
    cluster = _named(config, "clusters", "cluster", chosen.get("cluster") or "", source)
    user = _named(config, "users", "user", chosen.get("user") or "", source) if chosen.get("user") else {}
    for unsupported in ("exec", "auth-provider", "username"):
        if unsupported in user:
            raise KubeconfigError(f"{source}: user {chosen['user']}: {unsupported} is not supported")
    if cluster.get("insecure-skip-tls-verify"):
        raise KubeconfigError(f"{source}: insecure-skip-tls-verify is not supported")
    return cluster, user, chosen


def _named(config: Mapping[str, Any], section: str, part: str, name: str, source: str) -> dict[str, Any]:
    for entry in config.get(section) or []:
        if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(part), dict):
            found: dict[str, Any] = entry[part]
            return found
    raise KubeconfigError(f"{source}: {section} has no entry named {name!r}")


def _part(section: Mapping[str, Any], name: str, base: Path, source: str) -> Callable[[], bytes] | None:
    """Inline data goes before a file, as in kubectl."""
    inline = section.get(f"{name}-data")
    if inline:
        try:
            data = base64.b64decode(str(inline), validate=True)
        except binascii.Error as error:
            raise KubeconfigError(f"{source}: {name}-data is not base64") from error
        return lambda: data
    path = section.get(name)
    if path:
        return (base / str(path)).read_bytes
    return None


def _token(user: Mapping[str, Any], base: Path, source: str) -> Callable[[], str] | None:
    path = user.get("tokenFile")
    if path:
        return lambda: (base / str(path)).read_text().strip()
    token = str(user.get("token") or "")
    return (lambda: token) if token else None


def _make_context(
    authority: Callable[[], bytes], certificate: Callable[[], bytes] | None, key: Callable[[], bytes] | None, source: str
) -> ssl.SSLContext:
    try:
        context = client_context(ca_data=authority())
        if certificate is not None and key is not None:
            load_pair(context, certificate(), key())
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise KubeconfigError(f"{source}: {error}") from error
    return context


def load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """load_cert_chain takes paths only: give it one into memory."""
    descriptor = os.memfd_create("client-pair", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(certificate + b"\n" + key)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
