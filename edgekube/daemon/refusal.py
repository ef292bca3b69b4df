"""The end of an attempt to join that trying again would not change."""

from __future__ import annotations


class JoinRefused(Exception):
    """The cluster does not take this machine as it is; the text says what to do."""
