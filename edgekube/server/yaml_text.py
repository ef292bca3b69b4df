"""YAML as upstream writes it: keys sorted, text of several lines as a block, and quotes where a reader would take text for
something else.

Enters: a decoded object.
Leaves: bytes.
Holds: what upstream's reader, and ours, take for a number, a boolean or nothing stands in double quotes. ``=`` and ``<<``, which
upstream leaves bare, have quotes, too: YAML libraries of other languages take them for what they were in YAML 1.1.
Source: sigs.k8s.io/yaml (goyaml.v2 encode.go).
Next: server.rendering.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final

_AMBIGUOUS: Final = re.compile(
    r"|~|null|Null|NULL|y|Y|n|N|yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF"
    r"|[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)"
    r"|[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
    r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt \t][0-9:.]+[ \t]*(?:Z|[-+][0-9:]+)?)?",
    re.ASCII,
)


@cache
def _dumper() -> Any:
    """Made when the first YAML is written, because PyYAML costs 2 MB."""
    import yaml

    base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

    class Dumper(base):  # type: ignore[misc]
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text_of(dumper: Any, text: str) -> Any:
        style = '"' if _AMBIGUOUS.fullmatch(text) else "|" if "\n" in text else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(str, text_of)
    return Dumper


def written(value: Any) -> bytes:
    import yaml

    made: bytes = yaml.dump(
        value, Dumper=_dumper(), default_flow_style=False, sort_keys=True, allow_unicode=True, encoding="utf-8"
    )
    return made
