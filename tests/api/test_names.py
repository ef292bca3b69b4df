import pytest

from edgekube.api import names

LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an "
    "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with "
    "an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


@pytest.mark.parametrize(
    ("check", "good"),
    [
        (names.dns1123_label, "web-1"), (names.dns1123_label, "a" * 63), (names.dns1123_subdomain, "a.b-c.d"),
        (names.dns1123_subdomain, "1.2"), (names.dns1035_label, "web"), (names.qualified_name, "example.com/Name_x.y"),
        (names.qualified_name, "app"), (names.label_value, ""), (names.label_value, "A_b.c"), (names.path_segment, "system:node"),
        (names.env_var_name, "MY_ENV.x"), (names.relaxed_env_var_name, "1 odd name"), (names.config_map_key, ".hidden"),
        (names.port_name, "http-1"), (names.wildcard_subdomain, "*.example.com"), (names.http_header_name, "X-Y"),
        (names.percent, "10%"), (names.c_identifier, "_x1"), (names.dns1123_subdomain_with_underscore, "_tcp.local"),
    ],
)  # fmt: skip
def test_good_names_have_no_messages(check: names.NameCheck, good: str) -> None:
    assert check(good) == []


@pytest.mark.parametrize(
    ("check", "bad", "messages"),
    [
        (names.dns1123_label, "Web", [LABEL]),
        (names.dns1123_label, "web\n", [LABEL]),
        (names.dns1123_label, "a.b", ["must not contain dots"]),
        (names.dns1123_label, "a" * 64, ["must be no more than 63 characters"]),
        (names.dns1123_subdomain, "-a", [SUBDOMAIN]),
        (names.dns1123_subdomain, "", [SUBDOMAIN]),
        (names.path_segment, "..", ["may not be '..'"]),
        (names.path_segment, "a/%", ["may not contain '/'", "may not contain '%'"]),
        (names.port_name, "-80-", ["must contain at least one letter (a-z)", "must not begin or end with a hyphen"]),
        (names.port_name, "a--b", ["must not contain consecutive hyphens"]),
        (names.config_map_key, "..data", ["must not start with '..'"]),
        (names.config_map_key, "..", ["must not be '..'"]),
    ],
)
def test_bad_names_are_explained_in_upstreams_words(check: names.NameCheck, bad: str, messages: list[str]) -> None:
    assert check(bad) == messages


@pytest.mark.parametrize(
    ("check", "bad"),
    [
        (names.dns1035_label, "1web"), (names.qualified_name, "/x"), (names.qualified_name, "a/b/c"), (names.qualified_name, ""),
        (names.qualified_name, "a/"), (names.qualified_name, "x" * 64), (names.label_value, "-"), (names.label_value, "x" * 64),
        (names.env_var_name, "1A"), (names.relaxed_env_var_name, "A=B"), (names.relaxed_env_var_name, ""),
        (names.relaxed_env_var_name, "\u00e9"), (names.port_name, "HTTP"), (names.port_name, "x" * 16), (names.percent, "10"),
        (names.wildcard_subdomain, "example.com"), (names.http_header_name, "a b"), (names.c_identifier, "1a"),
        (names.config_map_key, "a/b"), (names.dns1123_subdomain_with_underscore, "A"),
    ],
)  # fmt: skip
def test_bad_names_have_messages(check: names.NameCheck, bad: str) -> None:
    assert check(bad)


def test_numbers_have_their_ranges() -> None:
    assert names.port_number(65535) == [] and names.port_number(0) == ["must be between 1 and 65535, inclusive"]
    assert names.user_or_group_id(0) == [] and names.user_or_group_id(-1) == ["must be between 0 and 2147483647, inclusive"]
