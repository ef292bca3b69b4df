"""Build hook: makes what is derived and never committed (API schemas, gRPC messages).

Enters: the source tree, whether a checkout, an unpacked sdist or an editable install.
Leaves: edgekube/api/*.bin and edgekube/{containerd,agent}/_generated/ in that tree; hatchling takes them as artifacts.
Holds: the generators are loaded by their path; no import of the tree's own packages is needed, so isolated builds work.
Next: build_hooks.schemas, build_hooks.grpc_stubs, build_hooks.protobuf_fields.
"""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"edgekube_build_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class DerivedFilesHook(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Runs before each target is built; a source distribution carries the generators instead of their output."""
        if self.target_name == "sdist":
            return
        root = Path(self.root)
        for name in ("schemas", "grpc_stubs", "protobuf_fields"):
            generator = root / "build_hooks" / f"{name}.py"
            if generator.exists():
                _load(generator).generate(root)
