"""A server's files: who it is, and who may speak to its agent."""

import base64
import stat
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from edgekube.daemon.identity import is_api_server, prepare_identity
from edgekube.settings import Settings


def settings(tmp_path: Path) -> Settings:
    return Settings("pi-7", data_dir=tmp_path / "data", admin_kubeconfig=tmp_path / "etc" / "kubeconfig.yaml")


def der(path: Path) -> bytes:
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


def test_private_files_are_private_and_the_kubeconfig_is_whole(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    prepare_identity(chosen, "192.0.2.7")
    for path in (*chosen.pki_dir.glob("*.key"), chosen.kubeconfig, chosen.admin_kubeconfig):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(chosen.pki_dir.stat().st_mode) == 0o700
    config = yaml.safe_load(chosen.kubeconfig.read_text())
    key = base64.b64decode(config["users"][0]["user"]["client-key-data"])
    assert key.startswith(b"-----BEGIN RSA PRIVATE KEY-----"), "fabric8 reads no other without a library of its own"
    assert config["current-context"] == "edgekube" and config["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"


def test_a_second_start_changes_nothing(tmp_path: Path) -> None:
    prepare_identity(settings(tmp_path), "192.0.2.7")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    prepare_identity(settings(tmp_path), "192.0.2.7")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_new_address_gets_into_the_servers_certificate(tmp_path: Path) -> None:
    prepare_identity(settings(tmp_path), "192.0.2.7")
    moved = prepare_identity(settings(tmp_path), "192.0.2.9")
    names = x509.load_pem_x509_certificate(moved.server.certificate.read_bytes()).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert "192.0.2.9" in {str(ip) for ip in names.value.get_values_for_type(x509.IPAddress)}


def test_only_the_api_server_may_speak_to_an_agent(tmp_path: Path) -> None:
    identity = prepare_identity(settings(tmp_path), "192.0.2.7")
    assert is_api_server(der(identity.agent_client.certificate))
    assert not is_api_server(der(identity.node.certificate)) and not is_api_server(None)
    assert not is_api_server(der(settings(tmp_path).pki_dir / "admin.crt")), "people go through the API server"
