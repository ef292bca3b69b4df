"""A kubeconfig as text: one cluster, one user, everything inline.

Enters: the server's URL, the authority's certificate, a client certificate and its key.
Leaves: YAML that kubectl and every client library reads. Holds: pure; the result is a secret: write it 0600.
Source: kubernetes.io/docs/reference/config-api/kubeconfig.v1.
Next: daemon writes it.
"""

from __future__ import annotations

from base64 import b64encode


def render(*, server: str, authority_pem: bytes, certificate_pem: bytes, key_pem: bytes, name: str = "edgekube") -> bytes:
    """``server`` is a URL such as https://127.0.0.1:6443."""
    lines = [
        "apiVersion: v1",
        "kind: Config",
        "clusters:",
        f"- name: {name}",
        "  cluster:",
        f"    certificate-authority-data: {b64encode(authority_pem).decode()}",
        f"    server: {server}",
        "users:",
        f"- name: {name}",
        "  user:",
        f"    client-certificate-data: {b64encode(certificate_pem).decode()}",
        f"    client-key-data: {b64encode(key_pem).decode()}",
        "contexts:",
        f"- name: {name}",
        "  context:",
        f"    cluster: {name}",
        f"    user: {name}",
        f"current-context: {name}",
    ]
    return ("\n".join(lines) + "\n").encode()
