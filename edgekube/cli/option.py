"""One setting, and how it is wrong.

Enters: nothing. Leaves: Option, OptionError.
Holds: a flag, a variable and a key of the config file have one name.
Next: cli.options, cli.node_options.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

PREFIX: Final = "EDGEKUBE_"


class OptionError(Exception):
    """A setting that cannot be used; the text says where it came from and what would be right."""


class Option(Struct, frozen=True):
    """One setting: ``--node-name``, ``node-name:`` in the file, ``EDGEKUBE_NODE_NAME``.

    ``field`` in Settings; ``node.FIELD`` in its NodeRules.
    """

    name: str
    field: str
    parse: Callable[[str], Any]
    help: str
    metavar: str = "TEXT"
    is_flag: bool = False
    multiple: bool = False
    #: What the parts of a ``multiple`` option become.
    collect: Callable[[Iterable[Any]], Any] = frozenset
    #: A part may be a mapping in the config file.
    parse_mapping: Callable[[Mapping[str, Any]], Any] | None = None
    #: The file may have a map, which reads as KEY=VALUE,KEY=VALUE.
    mapping: bool = False

    @property
    def variable(self) -> str:
        return PREFIX + self.name.replace("-", "_").upper()
