"""The examples of Kubernetes' own documentation: CEL in Kubernetes, validation rules, admission policies, match conditions."""

from __future__ import annotations

from typing import Any

import pytest

from edgekube.api import cel

RULES: dict[str, Any] = {
    "type": "object",
    "properties": {
        **{name: {"type": "integer"} for name in ("minReplicas", "replicas", "maxReplicas", "priority")},
        "stateCounts": {"type": "object", "additionalProperties": {"type": "integer"}},
        **{name: {"type": "array", "items": {"type": "string"}} for name in ("list1", "list2", "set1", "set2", "names")},
        "details": {"type": "object", "additionalProperties": {"type": "string"}},
        "envars": {
            "type": "array",
            "items": {"type": "object", "properties": {"name": {"type": "string"}, "value": {"type": "string"}}},
        },
        **{name: {"type": "string", "format": "date-time"} for name in ("created", "expired")},
        "ttl": {"type": "string", "format": "duration"},
        "health": {"type": "string"},
        "widgets": {
            "type": "array",
            "items": {"type": "object", "properties": {"key": {"type": "string"}, "foo": {"type": "integer"}}},
        },
        "percent": {"x-kubernetes-int-or-string": True},
        "items": {"type": "array", "items": {"type": "object", "properties": {"weight": {"type": "number"}}}},
    },
}
SELF = {
    "metadata": {"name": "singleton"},
    "minReplicas": 1,
    "replicas": 3,
    "maxReplicas": 5,
    "priority": 1,
    "stateCounts": {"Available": 3},
    "list1": ["a"],
    "list2": [],
    "set1": ["a"],
    "set2": ["b"],
    "names": ["x", "y"],
    "details": {"x": "abc", "y": "d"},
    "envars": [{"name": "MY_ENV", "value": "abc"}, {"name": "OTHER", "value": "12"}],
    "created": "2026-01-01T00:00:00Z",
    "expired": "2026-01-03T00:00:00Z",
    "ttl": "24h",
    "health": "ok: all",
    "widgets": [{"key": "x", "foo": 5}],
    "percent": "99%",
    "items": [{"weight": 0.5}, {"weight": 0.5}],
}


@pytest.mark.parametrize(
    "rule",
    [
        "self.minReplicas <= self.replicas && self.replicas <= self.maxReplicas",
        "'Available' in self.stateCounts",
        "(size(self.list1) == 0) != (size(self.list2) == 0)",
        "self.envars.filter(e, e.name == 'MY_ENV').all(e, e.value.matches('^[a-zA-Z]*$'))",
        "has(self.expired) && self.created + self.ttl < self.expired",
        "self.health.startsWith('ok')",
        "self.widgets.exists(w, w.key == 'x' && w.foo < 10)",
        "type(self.percent) == string ? self.percent == '99%' : self.percent == 42",
        "self.metadata.name == 'singleton'",
        "self.set1.all(e, !(e in self.set2))",
        "self.names.size() == self.details.size() && self.names.all(n, n in self.details)",
        "self.details.all(key, key.matches('^[a-zA-Z]*$'))",
        "self.details.all(key, self.details[key].matches('^[a-zA-Z]*$'))",
        "self.names.isSorted()",
        "self.items.map(x, x.weight).sum() == 1.0",
        "self.names.indexOf('y') == 1",
        "has(self.health) && self.?percent.orValue('0%') != '0%'",
        "oldSelf == self || self.replicas - oldSelf.replicas <= 2",
    ],
)
def test_validation_rules(rule: str) -> None:
    schema = cel.type_of_schema(RULES, is_root=True)
    program = cel.Environment({"self": schema, "oldSelf": schema}).compile(rule, cel.BOOL)
    assert program.evaluate({"self": SELF, "oldSelf": {**SELF, "replicas": 2}}) is True


@pytest.mark.parametrize(
    "text",
    [
        "'abc 123'.find('[0-9]+') == '123'",
        "'1, 2, 3, 4'.findAll('[0-9]+').map(x, int(x)).sum() < 100",
        "url('https://example.com:80/').getHost() == 'example.com:80'",
        "url('https://example.com/path with spaces/').getEscapedPath() == '/path%20with%20spaces/'",
        "quantity('500000G').isInteger()",
        "quantity('50k').asInteger() == 50000",
        "quantity('200M').compareTo(quantity('0.2G')) == 0",
        "quantity('150Mi').isGreaterThan(quantity('100Mi'))",
        "quantity('50k').add(quantity('20k')) == quantity('70k')",
        "quantity('50k').sub(20000) == quantity('30k')",
        "isIP('127.0.0.1') && ip('127.0.0.1').isLoopback() && ip('fe80::1').isLinkLocalUnicast()",
        "ip('2001:db8::abcd').family() == 6 && ip.isCanonical('2001:db8::abcd')",
        "cidr('192.168.0.0/24').containsIP(ip('192.168.0.1')) && cidr('192.168.0.0/16').containsCIDR('192.168.10.0/24')",
        "cidr('127.0.0.1/8').masked() == cidr('127.0.0.0/8') && cidr('192.168.0.0/24').prefixLength() == 24",
        "!format.named('dns1123Label').value().validate('a-label').hasValue()",
        "format.dns1123Label().validate('Not_A_Label').hasValue()",
        "semver('1.2.3').isLessThan(semver('2.0.0')) && isSemver('v1.0', true) && semver('1.2.3').minor() == 2",
        "sets.contains([1, 2, 3], [2]) && sets.intersects([1], [1, 2]) && sets.equivalent([1], [1, 1])",
        "'Hello'.lowerAscii() == 'hello' && 'tacocat'.charAt(3) == 'o' && 'hello'.replace('l', 'w') == 'hewwo'",
        "{'a': 1, 'b': 2}.transformMap(k, v, v * 2) == {'a': 2, 'b': 4} && [1, 2].transformList(i, v, i + v) == [1, 3]",
    ],
)
def test_libraries(text: str) -> None:
    assert cel.Environment({}).compile(text, cel.BOOL).evaluate({}) is True


REQUEST = {
    "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
    "userInfo": {"username": "ada", "groups": ["system:authenticated"]},
    "operation": "UPDATE",
}
OBJECT = {
    "metadata": {"name": "web", "labels": {"env": "test"}},
    "spec": {"replicas": 7, "template": {"spec": {"containers": [{"name": "a", "image": "example.com/a:1"}]}}},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("object.spec.replicas <= 5", False),
        ("object.spec.replicas <= params.maxReplicas", True),
        (
            "'replicas must be no greater than ' + string(params.maxReplicas)",
            "replicas must be no greater than 9",
        ),
        ("object.metadata.labels['env'] == namespaceObject.metadata.labels.env", True),
        ("variables.containers.all(c, c.image.startsWith('example.com/'))", True),
        ("'env' in object.metadata.labels ? object.metadata.labels['env'] : 'default'", "test"),
        ("!has(oldObject.spec.replicas) || object.spec.replicas > oldObject.spec.replicas", True),
        ("oldObject == null || oldObject.spec.replicas > 1", True),
        ("!(request.resource.group == 'coordination.k8s.io' && request.resource.resource == 'leases')", True),
        ("!('system:nodes' in request.userInfo.groups)", True),
        ("request.resource.group != 'rbac.authorization.k8s.io'", True),
        ("authorizer.group('admissionregistration.k8s.io').resource('policies').name('p').check('breakglass').allowed()", False),
        ("request.operation in ['CREATE', 'UPDATE'] && object.?metadata.?annotations[?'x'].orValue('') == ''", True),
        ("object.spec.template.spec.containers.map(c, c.image).filter(i, !i.contains('@')).size()", 1),
    ],
)
def test_policies_and_match_conditions(text: str, value: Any) -> None:
    names = ("object", "oldObject", "params", "request", "namespaceObject")
    variables = cel.object_type("kubernetes.variables", {"containers": cel.DYN})
    environment = cel.Environment({**dict.fromkeys(names, cel.DYN), "variables": variables, "authorizer": cel.AUTHORIZER})
    given = {
        "object": OBJECT,
        "oldObject": {**OBJECT, "spec": {"replicas": 6}},
        "params": {"maxReplicas": 9},
        "request": REQUEST,
        "namespaceObject": {"metadata": {"labels": {"env": "test"}}},
        "variables": cel.LazyFields({"containers": lambda: OBJECT["spec"]["template"]["spec"]["containers"]}),  # type: ignore[index]
        "authorizer": cel.Authorizer(lambda question: cel.Answer(False)),
    }
    assert environment.compile(text).evaluate(given) == value
