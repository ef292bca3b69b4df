"""The identity providers of a server, and what may be asked without saying who asks, as the settings name them.

Enters: Settings: flags for one provider, or an AuthenticationConfiguration file.
Leaves: providers for server.other_tokens, and the paths that are open to everybody whom a role lets in.
Holds: a file with a mistake keeps the server from starting: whoever wants to let people in, or keep them out, wants to know.
Next: daemon.authentication_reload reads the file again when it changes; admission.authentication.configuration, server.oidc.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from edgekube.admission.authentication.configuration import (
    Anonymous,
    AuthenticationConfiguration,
    ConfigurationError,
    parse_configuration,
)
from edgekube.api.cluster_info import PATH as CLUSTER_INFO
from edgekube.server.oidc import Provider, ProviderSettings
from edgekube.settings import Settings
from edgekube.wire.tls import foreign_client_context

#: What a machine that wants to join learns from, as of kubeadm's clusters.
_BY_DEFAULT: Final = Anonymous(frozenset({CLUSTER_INFO}))


class AuthenticationRefused(Exception):
    """The configuration cannot be used; the text says why."""


class ConfigurationFile(Struct, frozen=True):
    path: Path
    text: bytes
    read: AuthenticationConfiguration


class Authentication(Struct, frozen=True):
    providers: Sequence[Provider]
    anonymous: Anonymous
    #: None: flags say it.
    file: ConfigurationFile | None = None


def read_authentication(settings: Settings, own_issuer: str, clock: Callable[[], float]) -> Authentication:
    """AuthenticationRefused, OSError."""
    path = settings.authentication_config
    if path is None:
        return Authentication(_of_flags(settings, clock), _BY_DEFAULT)
    found = read_file(path, path.read_bytes(), own_issuer)
    providers = [Provider(each, clock) for each in found.read.providers]
    return Authentication(providers, found.read.anonymous or _BY_DEFAULT, found)


def read_file(path: Path, text: bytes, own_issuer: str) -> ConfigurationFile:
    """AuthenticationRefused."""
    import yaml

    try:
        read = parse_configuration(yaml.safe_load(text), (own_issuer,))
    except (ConfigurationError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise AuthenticationRefused(f"{path}: {' '.join(str(error).split())}") from None
    for each in read.providers:
        try:
            foreign_client_context(each.authority_pem.encode() or None)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            where = f"{path}: the certificateAuthority of {each.issuer_url}"
            raise AuthenticationRefused(f"{where} cannot be read: {error}") from None
    return ConfigurationFile(path, text, read)


def _of_flags(settings: Settings, clock: Callable[[], float]) -> Sequence[Provider]:
    if not settings.oidc_issuer_url:
        return ()
    chosen = ProviderSettings(
        settings.oidc_issuer_url,
        settings.oidc_client_id,
        settings.oidc_username_claim,
        settings.oidc_username_prefix,
        settings.oidc_groups_claim,
        settings.oidc_groups_prefix,
        settings.oidc_required_claims,
    )
    made = Provider(chosen.as_jwt(), clock, ca_file=settings.oidc_ca_file, algorithms=settings.oidc_signing_algs)
    return (made,)
