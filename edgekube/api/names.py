"""What names may look like: labels, subdomains, label keys and values, ports, environment variables.

Enters: text from objects.
Leaves: upstream's messages, none when the text is good.
Holds: every function takes text and answers a list; it never raises.
Source: RFC 1123, RFC 1035; apimachinery util/validation and api/validate/content (v1.36 messages).
Next: api.validation, api.selectors.labels, registry (object names).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias

NameCheck: TypeAlias = Callable[[str], list[str]]

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = _LABEL + r"(\." + _LABEL + ")*"
_UNDERSCORE_LABEL: Final = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_UNDERSCORE_SUBDOMAIN: Final = _UNDERSCORE_LABEL + r"(\." + _UNDERSCORE_LABEL + ")*"
_1035_LABEL: Final = "[a-z]([-a-z0-9]*[a-z0-9])?"
_WILDCARD: Final = r"\*\." + _SUBDOMAIN
_LABEL_KEY: Final = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE: Final = f"({_LABEL_KEY})?"
_C_IDENTIFIER: Final = "[A-Za-z_][A-Za-z0-9_]*"
_ENV_VAR: Final = "[-._a-zA-Z][-._a-zA-Z0-9]*"
_CONFIG_KEY: Final = "[-._a-zA-Z0-9]+"
_HTTP_HEADER: Final = "[-A-Za-z0-9]+"
_PERCENT: Final = "[0-9]+%"

_LABEL_RE: Final = re.compile(_LABEL)
_SUBDOMAIN_RE: Final = re.compile(_SUBDOMAIN)
_UNDERSCORE_SUBDOMAIN_RE: Final = re.compile(_UNDERSCORE_SUBDOMAIN)
_1035_LABEL_RE: Final = re.compile(_1035_LABEL)
_WILDCARD_RE: Final = re.compile(_WILDCARD)
_LABEL_KEY_RE: Final = re.compile(_LABEL_KEY)
_LABEL_VALUE_RE: Final = re.compile(_LABEL_VALUE)
_C_IDENTIFIER_RE: Final = re.compile(_C_IDENTIFIER)
_ENV_VAR_RE: Final = re.compile(_ENV_VAR)
_CONFIG_KEY_RE: Final = re.compile(_CONFIG_KEY)
_HTTP_HEADER_RE: Final = re.compile(_HTTP_HEADER)
_PERCENT_RE: Final = re.compile(_PERCENT)
_PORT_NAME_RE: Final = re.compile("[-a-z0-9]+")
_LETTER_RE: Final = re.compile("[a-z]")

LABEL_LENGTH_MAX: Final = 63
SUBDOMAIN_LENGTH_MAX: Final = 253
PORT_NAME_LENGTH_MAX: Final = 15

_LABEL_WORDS: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character"
)
_SUBDOMAIN_WORDS: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)
_UNDERSCORE_WORDS: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', "
    "and must start and end with an alphanumeric character"
)
_1035_WORDS: Final = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
    "start with an alphabetic character, and end with an alphanumeric character"
)
_WILDCARD_WORDS: Final = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
    "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character"
)
_LABEL_KEY_WORDS: Final = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)
_LABEL_VALUE_WORDS: Final = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character"
)
_C_IDENTIFIER_WORDS: Final = (
    "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'"
)
_ENV_VAR_WORDS: Final = (
    "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', "
    "and must not start with a digit"
)
_RELAXED_ENV_VAR_WORDS: Final = "a valid environment variable name must consist only of printable ASCII characters other than '='"
_CONFIG_KEY_WORDS: Final = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
_HTTP_HEADER_WORDS: Final = "a valid HTTP header must consist of alphanumeric characters or '-'"
_PERCENT_WORDS: Final = "a valid percent string must be a numeric string followed by an ending '%'"

EMPTY: Final = "must be non-empty"


def too_long(characters_max: int) -> str:
    return f"must be no more than {characters_max} characters"


def too_many_bytes(bytes_max: int) -> str:
    return f"must be no more than {bytes_max} bytes"


def outside(low: int, high: int) -> str:
    return f"must be between {low} and {high}, inclusive"


def pattern_words(words: str, pattern: str, *examples: str) -> str:
    """Upstream's RegexError: what the rule is, examples, the pattern."""
    if not examples:
        return f"{words} (regex used for validation is '{pattern}')"
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{words} (e.g. {shown}regex used for validation is '{pattern}')"


def bytes_of(value: str) -> int:
    return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))


def _length(value: str, characters_max: int) -> list[str]:
    return [too_long(characters_max)] if bytes_of(value) > characters_max else []


def dns1123_label(value: str) -> list[str]:
    """Names of namespaces, containers, volumes: at most 63 of [-a-z0-9]."""
    messages = _length(value, LABEL_LENGTH_MAX)
    if not _LABEL_RE.fullmatch(value):
        if _SUBDOMAIN_RE.fullmatch(value):
            messages.append("must not contain dots")
        else:
            messages.append(pattern_words(_LABEL_WORDS, _LABEL, "my-name", "123-abc"))
    return messages


def dns1123_subdomain(value: str) -> list[str]:
    """Names of most objects: labels joined by dots, at most 253."""
    messages = _length(value, SUBDOMAIN_LENGTH_MAX)
    if not _SUBDOMAIN_RE.fullmatch(value):
        messages.append(pattern_words(_SUBDOMAIN_WORDS, _SUBDOMAIN, "example.com"))
    return messages


def dns1123_long_name(value: str) -> list[str]:
    """As a subdomain, in the words of upstream's newer checks."""
    return [message.replace("characters", "bytes") if "no more" in message else message for message in dns1123_subdomain(value)]


def dns1123_subdomain_with_underscore(value: str) -> list[str]:
    """DNS search domains in a pod's dnsConfig."""
    messages = _length(value, SUBDOMAIN_LENGTH_MAX)
    if not _UNDERSCORE_SUBDOMAIN_RE.fullmatch(value):
        messages.append(pattern_words(_UNDERSCORE_WORDS, _UNDERSCORE_SUBDOMAIN, "example.com"))
    return messages


def wildcard_subdomain(value: str) -> list[str]:
    """Ingress hosts such as ``*.example.com``."""
    messages = _length(value, SUBDOMAIN_LENGTH_MAX)
    if not _WILDCARD_RE.fullmatch(value):
        messages.append(pattern_words(_WILDCARD_WORDS, _WILDCARD, "*.example.com"))
    return messages


def dns1035_label(value: str) -> list[str]:
    """Names of services: as a label, starting with a letter."""
    messages = _length(value, LABEL_LENGTH_MAX)
    if not _1035_LABEL_RE.fullmatch(value):
        messages.append(pattern_words(_1035_WORDS, _1035_LABEL, "my-name", "abc-123"))
    return messages


def qualified_name(value: str) -> list[str]:
    """Label and annotation keys, resource and finalizer names: ``[prefix/]name``."""
    messages: list[str] = []
    parts = value.split("/")
    key_words = pattern_words(_LABEL_KEY_WORDS, _LABEL_KEY, "MyName", "my.name", "123-abc")
    if len(parts) > 2:
        return [f"a valid label key {key_words} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"]
    name = parts[-1]
    if len(parts) == 2:
        if not parts[0]:
            messages.append(f"prefix part {EMPTY}")
        else:
            messages += [f"prefix part {message}" for message in dns1123_long_name(parts[0])]
    if not name:
        messages.append(f"name part {EMPTY}")
    elif bytes_of(name) > LABEL_LENGTH_MAX:
        messages.append(f"name part {too_many_bytes(LABEL_LENGTH_MAX)}")
    if not _LABEL_KEY_RE.fullmatch(name):
        messages.append(f"name part {key_words}")
    return messages


def label_value(value: str) -> list[str]:
    messages = [too_many_bytes(LABEL_LENGTH_MAX)] if bytes_of(value) > LABEL_LENGTH_MAX else []
    if not _LABEL_VALUE_RE.fullmatch(value):
        messages.append(pattern_words(_LABEL_VALUE_WORDS, _LABEL_VALUE, "MyValue", "my_value", "12345"))
    return messages


def field_manager(value: str) -> list[str]:
    """Of what characters a manager of fields may be made; each bad one has a message."""
    if value.isprintable():
        return []
    messages: list[str] = []
    position = 0
    for character in value:
        if not character.isprintable():
            messages.append(f"invalid character U+{ord(character):04X} (at position {position})")
        position += bytes_of(character)
    return messages


def path_segment(value: str) -> list[str]:
    """Names of RBAC objects and the like: anything that survives as one part of a URL path."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{part}'" for part in ("/", "%") if part in value]


def c_identifier(value: str) -> list[str]:
    if _C_IDENTIFIER_RE.fullmatch(value):
        return []
    return [pattern_words(_C_IDENTIFIER_WORDS, _C_IDENTIFIER, "my_name", "MY_NAME", "MyName")]


def _leads_out(value: str) -> list[str]:
    """``.`` and ``..`` as file names would lead out of the directory that a volume makes of them."""
    if value in (".", ".."):
        return [f"must not be '{value}'"]
    return ["must not start with '..'"] if value.startswith("..") else []


def env_var_name(value: str) -> list[str]:
    """The strict form, used for envFrom prefixes of old."""
    messages = []
    if not _ENV_VAR_RE.fullmatch(value):
        messages.append(pattern_words(_ENV_VAR_WORDS, _ENV_VAR, "my.env-name", "MY_ENV.NAME", "MyEnvName1"))
    return messages + _leads_out(value)


def relaxed_env_var_name(value: str) -> list[str]:
    """What a container's env may be named (v1.34 and later): printable ASCII without ``=``."""
    messages = [] if value else [f"environment variable name {EMPTY}"]
    if any(not " " <= character <= "~" or character == "=" for character in value):
        messages.append(_RELAXED_ENV_VAR_WORDS)
    return messages


def config_map_key(value: str) -> list[str]:
    """Keys of ConfigMaps and Secrets: they become file names."""
    messages = _length(value, SUBDOMAIN_LENGTH_MAX)
    if not _CONFIG_KEY_RE.fullmatch(value):
        messages.append(pattern_words(_CONFIG_KEY_WORDS, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    return messages + _leads_out(value)


def http_header_name(value: str) -> list[str]:
    if _HTTP_HEADER_RE.fullmatch(value):
        return []
    return [pattern_words(_HTTP_HEADER_WORDS, _HTTP_HEADER, "X-Header-Name")]


def percent(value: str) -> list[str]:
    if _PERCENT_RE.fullmatch(value):
        return []
    return [pattern_words(_PERCENT_WORDS, _PERCENT, "1%", "93%")]


def port_name(value: str) -> list[str]:
    """IANA service names, RFC 6335: at most 15 of [-a-z0-9] with a letter in it."""
    messages = _length(value, PORT_NAME_LENGTH_MAX)
    if not _PORT_NAME_RE.fullmatch(value):
        messages.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not _LETTER_RE.search(value):
        messages.append("must contain at least one letter (a-z)")
    if "--" in value:
        messages.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        messages.append("must not begin or end with a hyphen")
    return messages


def port_number(value: int) -> list[str]:
    return [] if 1 <= value <= 65535 else [outside(1, 65535)]


def user_or_group_id(value: int) -> list[str]:
    return [] if 0 <= value <= 2**31 - 1 else [outside(0, 2**31 - 1)]
