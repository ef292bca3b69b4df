"""Build hook: makes what is derived and never committed (API schemas, gRPC messages)."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class DerivedFilesHook(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        return None
