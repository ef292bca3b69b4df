from __future__ import annotations

from tests.wire.conftest import authority, identity

__all__ = ["authority", "identity"]
