"""How log lines look: one line each, on standard error.

Enters: records of the standard library's logging. Leaves: text (time, level, logger, message) or JSON.
Next: cli.server.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time


class _Text(logging.Formatter):
    """What others have said is in many a message; nobody else begins a line of ours, or moves the cursor of who reads it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        if not record.message.isprintable():
            record.message = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in record.message)
        return super().formatMessage(record)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        stamp = self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}Z"
        line: dict[str, object] = {
            "time": stamp,
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        said = getattr(record, "said", None)  # what the message says, already taken apart
        if isinstance(said, dict):
            line |= said
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def formatter(format_name: str) -> logging.Formatter:
    return _Json() if format_name == "json" else _Text()


def configure_logging(format_name: str) -> None:
    """``text`` or ``json``. EDGEKUBE_DEBUG=1 also shows each request."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(format_name))
    logging.basicConfig(level=logging.DEBUG if os.environ.get("EDGEKUBE_DEBUG") == "1" else logging.INFO, handlers=[handler])
    logging.Formatter.converter = staticmethod(time.gmtime)
    logging.raiseExceptions = False  # a closed log must not take a cluster down
