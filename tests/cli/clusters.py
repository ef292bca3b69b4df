"""What a server leaves on disk for the command line: certificates and kubeconfigs, by the server's own code."""

from edgekube.daemon.identity import Identity, prepare_identity
from edgekube.settings import Settings


def write_identity(settings: Settings) -> Identity:
    return prepare_identity(settings, "127.0.0.1")
