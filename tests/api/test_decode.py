import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube import limits
from edgekube.api.decode import decode_body, duplicate_fields, media_type
from edgekube.api.errors import StatusError


def refused(body: bytes, content_type: str = "application/json") -> tuple[int, str]:
    with pytest.raises(StatusError) as caught:
        decode_body(body, content_type)
    return caught.value.code, caught.value.message


def yaml(text: str) -> object:
    return decode_body(text.encode(), "application/yaml")


def test_json_is_taken_by_its_name_and_without_one() -> None:
    for content_type in ("application/json", "", "application/json; charset=utf-8", "Application/JSON"):
        assert decode_body(b'{"kind":"Pod"}', content_type) == {"kind": "Pod"}
    assert media_type(" application/yaml ; x=y") == "application/yaml"


@pytest.mark.parametrize(
    "content_type", ["application/xml", "text/plain", "application/vnd.kubernetes.protobuf", "application/cbor"]
)
def test_other_media_types_are_refused(content_type: str) -> None:
    code, message = refused(b"{}", content_type)
    assert code == 415
    assert message == (
        "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml"
    )


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{", "unexpected end of JSON input"),
        (b'{"a": NaN}', "invalid character 'N' looking for beginning of value"),
        (b'{"a": Infinity}', "invalid character 'I' looking for beginning of value"),
        (b"{'a': 1}", "invalid character '\\'' looking for beginning of object key string"),
        (b'{"a": 1,}', "invalid character '}' looking for beginning of object key string"),
        (b"nonsense", "invalid character 'o' in literal null (expecting 'u')"),
        (b'{"a": "\xff"}', "str is not valid UTF-8: surrogates not allowed: line 1 column 1 (char 0)"),
    ],
)
def test_broken_json_is_refused_in_upstreams_words(body: bytes, why: str) -> None:
    assert refused(body) == (400, f"couldn't get version/kind; json parse error: {why}")


def test_a_body_must_be_an_object() -> None:
    fields = r'APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\""'
    into = f"into Go value of type struct {{ {fields} }}"
    assert refused(b"[1]")[1].endswith(f"json: cannot unmarshal array {into}")
    assert refused(b"3")[1].endswith(f"json: cannot unmarshal number {into}")
    assert refused(b"- a", "application/yaml")[1].endswith(f"json: cannot unmarshal array {into}")
    assert refused(b"")[1].endswith("unexpected end of JSON input")


def test_null_is_an_object_that_says_nothing() -> None:
    for body, content_type in (
        (b"null", ""),
        (b"null", "application/yaml"),
        (b"", "application/yaml"),
        (b"# none", "application/yaml"),
    ):
        assert decode_body(body, content_type) == {}


def test_deep_nesting_is_refused() -> None:
    deep = b'{"a":' * (limits.BODY_DEPTH_MAX + 1) + b"1" + b"}" * (limits.BODY_DEPTH_MAX + 1)
    assert refused(deep)[1].endswith(f"exceeded max depth of {limits.BODY_DEPTH_MAX}")
    wide = orjson.dumps({"a": [{"b": 1}] * 1000})
    assert len(decode_body(wide, "")["a"]) == 1000
    assert "depth" in refused(b"a: " + b"[" * 3000 + b"]" * 3000, "application/yaml")[1]


@pytest.mark.parametrize("deep", [b"a: " + b"[" * 200_000, b'{"a":' * 200_000, b"- " * 200_000, b"? " * 200_000])
def test_yaml_that_is_deep_enough_to_end_a_process_is_refused_in_no_time(deep: bytes) -> None:
    assert "depth" in refused(deep, "application/yaml")[1]


def test_long_lines_and_many_lists_are_not_deep() -> None:
    lists = b"".join(b"- [a, {b: c}]\n" for _ in range(5000))
    assert len(decode_body(b"a: " + b"x" * 100_000 + b"\nb:\n" + lists, "application/yaml")["b"]) == 5000


def test_yaml_means_what_it_means_to_kubernetes() -> None:
    assert yaml(
        "a: 1\nb: yes\nc: 'yes'\nd: 2026-01-02T03:04:05Z\ne: 22:22\nf: 0777\ng: 1e3\nh: ~\ni: 1.5\nj: 0x10\n"
        "k: '1'\nl: 3.0\nm: 1_000\n80: port\ntrue: flag\nn: y\n"
    ) == {
        "a": 1, "b": True, "c": "yes", "d": "2026-01-02T03:04:05Z", "e": "22:22", "f": 511, "g": 1000, "h": None, "i": 1.5,
        "j": 16, "k": "1", "l": 3, "m": 1000, "80": "port", "true": "flag", "false": True,
    }  # fmt: skip


def test_yaml_merge_keys_and_aliases_become_copies() -> None:
    made = decode_body(b"base: &b {x: 1, z: [1]}\nmerged:\n  <<: *b\n  x: 2\nagain: *b\n", "application/yaml")
    assert made == {"base": {"x": 1, "z": [1]}, "merged": {"x": 2, "z": [1]}, "again": {"x": 1, "z": [1]}}
    made["again"]["z"].append(2)
    assert made["base"]["z"] == [1]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [", "line 1: did not find expected node content"),
        ("a: 1\na: 2\nb: [", "line 3: did not find expected node content"),
        ("a: b: c", "mapping values are not allowed in this context"),
        ("a:\n  b\n c: d", "line 3: mapping values are not allowed in this context"),
        ("\ta: b", "found character that cannot start any token"),
        ("a: 'x\n\n", "line 3: found unexpected end of stream"),
        ("{a: 1\nb: 2}", "line 1: did not find expected ',' or '}'"),
        ("a: &x [*x", "line 1: did not find expected ',' or ']'"),
        ("b: 1\na: *some-thing ", "unknown anchor 'some-thing' referenced"),
        ("%bad\n", "found unknown directive name"),
        ("'a': 'b' 'c'", "did not find expected key"),
        ('a: "\\q"', "found unknown escape character"),
        ("a: \x00", "control characters are not allowed"),
    ],
)
def test_broken_yaml_is_refused_in_upstreams_words(text: str, why: str) -> None:
    assert refused(text.encode(), "application/yaml") == (400, f"yaml: {why}")


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object:os.system x",
        "a: !!binary YQ==",
        "a: .nan",
        "a: .inf",
        "? [1]\n: x",
        "a: &x [*x]",
        "--- 1\n--- 2",
    ],
)
def test_strange_yaml_is_refused(text: str) -> None:
    code, message = refused(text.encode(), "application/yaml")
    assert code == 400
    assert message.startswith("yaml: ")


def test_yaml_aliases_cannot_multiply() -> None:
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10))
    assert refused(bomb.encode(), "application/yaml")[1].endswith("document contains excessive aliasing")


def test_fields_given_twice_are_named() -> None:
    def said(body: bytes, content_type: str = "") -> list[str]:
        return duplicate_fields(body, content_type, decode_body(body, content_type))

    assert said(b'{"spec":{"replicas":1,"template":{"x":[{"a":1}]}}}\n') == []
    assert said(b'{ "spec": {"replicas": 1} }') == []
    assert said(b'{"spec":{"replicas":1,"replicas":2,"l":[{"a":1,"a":2}]}}') == [
        'duplicate field "spec.replicas"',
        'duplicate field "spec.l[0].a"',
    ]
    assert said(b"spec:\n  replicas: 1\n  replicas: 2\n", "application/yaml") == ['line 3: key "replicas" already set in map']
    assert said(b"a: &x {b: 1}\nc: {<<: *x, b: 2}\n", "application/yaml") == []


_STRINGS = st.text(alphabet='ab":\\ é', max_size=4)
_BLANKS = st.sampled_from(["", " ", "\n", " \t"])


def _by_number(text: str) -> str:
    return '"' + "".join(f"\\u{ord(character):04x}" for character in text) + '"'


@st.composite
def _written(draw: st.DrawFn, depth: int = 3) -> str:
    """An object's text: names may be there twice, blanks anywhere, and characters spelled by their number."""
    parts = []
    for _ in range(draw(st.integers(0, 3))):
        name = draw(_STRINGS.map(json.dumps) | _STRINGS.map(_by_number))
        scalar = st.sampled_from(["1", "1e9", "null", draw(_STRINGS.map(lambda text: json.dumps(text, ensure_ascii=False)))])
        value = draw(scalar if not depth else scalar | _written(depth - 1) | _written(depth - 1).map(lambda text: f"[{text}]"))
        parts.append(f"{draw(_BLANKS)}{name}{draw(_BLANKS)}:{draw(_BLANKS)}{value}{draw(_BLANKS)}")
    return "{" + ",".join(parts) + "}"


@settings(max_examples=200, deadline=None)
@given(_written())
def test_no_repetition_is_missed_and_none_made_up(text: str) -> None:
    repeated = False

    def note(pairs: list[tuple[str, object]]) -> dict[str, object]:
        nonlocal repeated
        repeated = repeated or len(dict(pairs)) < len(pairs)
        return dict(pairs)

    json.loads(text, object_pairs_hook=note)
    assert bool(duplicate_fields(text.encode(), "", decode_body(text.encode(), ""))) == repeated


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=4), _JSON, max_size=4))
def test_what_was_written_is_read(obj: dict[str, object]) -> None:
    body = orjson.dumps(obj)
    assert decode_body(body, "application/json") == obj
    assert duplicate_fields(body, "", obj) == []


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60), st.sampled_from(["application/json", "application/yaml"]))
def test_any_bytes_are_an_object_or_a_bad_request(body: bytes, content_type: str) -> None:
    try:
        made = decode_body(body, content_type)
    except StatusError as error:
        assert error.code == 400
    else:
        assert isinstance(made, dict)


def test_only_so_many_repeated_fields_are_named() -> None:
    pairs = ",".join(f'"f{i}":1' for i in range(20_000))
    body = f"{{{pairs},{pairs}}}".encode()
    assert len(duplicate_fields(body, "", decode_body(body, ""))) == limits.STRICT_MESSAGES_MAX
