"""An agent's files: there is no moment at which the node is nobody."""

from __future__ import annotations

import datetime
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509

from edgekube.api.cluster_facts import ClusterFacts
from edgekube.client.joining import Joined
from edgekube.daemon.node_files import NodeFiles
from edgekube.pki.authority import Authority, load_or_create_authority
from edgekube.pki.certificates import node_client_subject, node_serving_subject
from edgekube.pki.requests import load_or_create_key, request_pem
from edgekube.wire.tls import fits

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime.datetime.now(datetime.UTC)


def certificate(authority: Authority, files: NodeFiles, key_path: Path, *, serving: bool) -> str:
    subject = (node_serving_subject if serving else node_client_subject)("pi-7")
    request = x509.load_pem_x509_csr(request_pem(load_or_create_key(key_path), subject).encode())
    day = datetime.timedelta(days=1)
    return authority.sign_request(request, key_usages=frozenset(), extended_usages=[], now=NOW, lifetime=day).decode()


@pytest.fixture
def member(tmp_path: Path) -> NodeFiles:
    """A node that has joined, and lies ready to take up new certificates."""
    files = NodeFiles(tmp_path / "agent")
    files.prepare()
    authority = load_or_create_authority(tmp_path / "ca", now=NOW)
    pem = authority.certificate_pem.decode()
    facts = ClusterFacts("id", "lab", "10.42.0.0/16", "10.43.0.0/16", "10.43.0.10", "cluster.local", pem, ("https://a:6443",))
    client, own = (certificate(authority, files, files.key, serving=serving) for serving in (False, True))
    files.save(Joined("pi-7", client, own, facts))
    for name, serving in (("client", False), ("serving", True)):
        text = certificate(authority, files, files.next_key, serving=serving)
        (files.directory / f"answer-{name}.crt").write_text(text)
    return files


def identity(files: NodeFiles) -> bytes:
    """All that says who the node is; it must fit."""
    fits(files.client_certificate, files.key)
    fits(files.serving_certificate, files.key)
    return files.key.read_bytes()


def test_killed_at_any_change_of_the_disk_the_node_is_the_old_one_or_the_new_one(member: NodeFiles, tmp_path: Path) -> None:
    old, new = member.key.read_bytes(), member.next_key.read_bytes()
    seen = set()
    for count in range(1, 40):
        files = NodeFiles(tmp_path / f"killed-{count}")
        shutil.copytree(member.directory, files.directory)
        inject = ["-e", "trace=rename,unlink", "-e", f"inject=rename,unlink:signal=SIGKILL:when={count}"]
        command = ["strace", "-f", "-qq", "-o", "/dev/null", *inject, sys.executable, "-m", "tests.daemon.moving"]
        done = subprocess.run([*command, str(files.directory)], cwd=ROOT, check=False, capture_output=True, text=True)
        files.prepare()
        assert files.load() is not None
        key = identity(files)
        assert key in (old, new)
        seen.add(key)
        if key == old:
            # The same key asks again: an answer that was lost may already have made it known.
            assert files.next_key.read_bytes() == new
        if done.returncode == 0:
            assert key == new
            break
    else:
        raise AssertionError("the move never ran through")
    assert seen == {old, new}


def test_certificates_that_do_not_fit_the_new_key_are_not_taken_up(member: NodeFiles, tmp_path: Path) -> None:
    before = identity(member)
    held = member.load()
    assert held is not None
    stranger = NodeFiles(tmp_path / "stranger")
    authority = load_or_create_authority(tmp_path / "ca", now=NOW)
    wrong = certificate(authority, stranger, stranger.key, serving=False)
    with pytest.raises(OSError):
        member.save_renewed(Joined("pi-7", wrong, wrong, held.facts))
    assert identity(member) == before
    member.prepare()
    assert identity(member) == before


def test_the_servers_that_answered_are_remembered_and_nonsense_is_not(member: NodeFiles) -> None:
    assert member.last_servers() == ()
    member.save_servers(("https://a:6443", "https://[fd00::1]:6443"))
    written = member.servers.stat().st_mtime_ns
    member.save_servers(("https://a:6443", "https://[fd00::1]:6443"))
    assert member.servers.stat().st_mtime_ns == written, "an SD card is not written to for nothing"
    assert NodeFiles(member.directory).last_servers() == ("https://a:6443", "https://[fd00::1]:6443")
    member.servers.write_text("{not json")
    assert member.last_servers() == ()
