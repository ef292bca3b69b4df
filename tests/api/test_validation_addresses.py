"""Addresses in objects: what v1.36 refuses in what is new, and leaves where it stands."""

from __future__ import annotations

import pytest

from edgekube.api.validation.addresses import check_canonical_cidr, check_canonical_ip, check_cidr, check_ip
from edgekube.api.validation.fields import Findings
from tests.api.refusals import changes_refused, edited, manifest, refusals, said

_NO_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_NO_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_ZEROS = "must not have leading 0s in IP or prefix length"


@pytest.mark.parametrize(
    ("value", "words", "canonical"),
    [
        ("10.0.0.1", "", ""),
        ("fd00::1", "", ""),
        ("fd00:0::1", "", 'must be in canonical form ("fd00::1")'),
        ("FD00::1", "", 'must be in canonical form ("fd00::1")'),
        ("010.0.0.1", "must not have leading 0s", "must not have leading 0s"),
        ("::ffff:1.2.3.4", "must not be an IPv4-mapped IPv6 address", "must not be an IPv4-mapped IPv6 address"),
        ("10.0.0", _NO_IP, _NO_IP),
        ("0400.0.0.1", _NO_IP, _NO_IP),
        ("fe80::1%eth0", _NO_IP, _NO_IP),
        ("", _NO_IP, _NO_IP),
    ],
)
def test_addresses(value: str, words: str, canonical: str) -> None:
    for check, expected in ((check_ip, words), (check_canonical_ip, canonical)):
        out = Findings()
        assert check(out, value, "f") == (not expected)
        assert said(out) == ([f'f: Invalid value: "{value}": {expected}'] if expected else [])


@pytest.mark.parametrize(
    ("value", "words", "canonical"),
    [
        ("10.0.0.0/8", "", ""),
        ("fd00::/16", "", ""),
        ("fd00:0::/16", "", 'must be in canonical form ("fd00::/16")'),
        ("10.1.0.0/8", "must not have bits set beyond the prefix length", "must not have bits set beyond the prefix length"),
        ("010.0.0.0/8", _ZEROS, _ZEROS),
        ("10.0.0.0/08", _ZEROS, _ZEROS),
        ("::ffff:1.2.3.4/128", "must not have an IPv4-mapped IPv6 address", "must not have an IPv4-mapped IPv6 address"),
        ("10.0.0.0/33", _NO_CIDR, _NO_CIDR),
        ("10.0.0.0", _NO_CIDR, _NO_CIDR),
        ("a", _NO_CIDR, _NO_CIDR),
    ],
)
def test_ranges(value: str, words: str, canonical: str) -> None:
    for check, expected in ((check_cidr, words), (check_canonical_cidr, canonical)):
        out = Findings()
        check(out, value, "f")
        assert said(out) == ([f'f: Invalid value: "{value}": {expected}'] if expected else [])


def test_what_is_stored_stays_and_what_is_new_is_judged() -> None:
    policy = manifest(
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: n}, spec: {podSelector: {}, ingress:"
        " [{from: [{ipBlock: {cidr: 10.1.0.0/8}}]}]}}"
    )
    wrong = 'spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "10.1.0.0/8": must not have bits set beyond the prefix length'
    assert refusals(policy) == [wrong]
    assert changes_refused(edited(policy, {"metadata.labels": {"a": "b"}}), policy) == []
    assert changes_refused(edited(policy, {"spec.ingress[0].from[0].ipBlock.cidr": "10.2.0.0/8"}), policy) == [
        wrong.replace("10.1", "10.2")
    ]
    service = manifest(
        "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {type: LoadBalancer, clusterIP: 10.43.0.5, clusterIPs:"
        " [10.43.0.5], ipFamilies: [IPv4], ports: [{port: 80, nodePort: 30000}], loadBalancerSourceRanges: [010.0.0.0/8]}}"
    )
    assert refusals(service) == [f'spec.LoadBalancerSourceRanges[0]: Invalid value: "010.0.0.0/8": {_ZEROS}']
    assert changes_refused(service, service) == []
