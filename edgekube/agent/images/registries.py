"""The registries file, followed: what it says holds from the next pull on.

Enters: /etc/edgekube/registries.yaml, looked at before each pull (one stat).
Leaves: hosts.toml files for our containerd, which reads them at each pull; credentials for the node's own pulls and its pods'.
Holds: a file that is wrong is told of and changes nothing; directories that somebody else filled are left alone.
Next: agent.images.pulling.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from edgekube.agent.images.keyring import Credential
from edgekube.containerd.registries import MARK, Registries, hosts_files, parse, server_of

log = logging.getLogger("edgekube.agent")

_BYTES_MAX = 1024 * 1024


class NodeRegistries:
    """``tell``: (type, reason, message) about the node."""

    def __init__(self, file: Path, directory: Path, tell: Callable[[str, str, str], None]) -> None:
        self._file = file
        self._directory = directory
        self._tell = tell
        self._stamp: tuple[int, int, int] | None = None
        self._read = False
        self._registries = Registries()

    def credentials(self, full_name: str, of_pod: list[Credential]) -> list[Credential]:
        """In the order in which they are tried. Where a mirror stands before the registry, a pod's go to the registry alone."""
        self.refresh()
        registry = full_name.partition("/")[0]
        for_mirrors, own = self._registries.credentials(registry)
        mirror = self._registries.mirror_of(registry)
        if mirror is not None and mirror.endpoints:
            of_pod = [replace(item, auth=replace(item.auth, server_address=server_of(registry))) for item in of_pod]
        return [*(Credential(auth) for auth in for_mirrors), *of_pod, *(Credential(auth) for auth in own)]

    def refresh(self) -> None:
        """Read the file if it is not the one that was read."""
        try:
            found = self._file.stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        except OSError:
            stamp = None
        if self._read and stamp == self._stamp:
            return
        self._read, self._stamp = True, stamp
        try:
            registries = self._load() if stamp is not None else Registries()
            self._write(registries)
        except (OSError, ValueError) as error:
            message = f"{self._file} is not used: {error}"
            log.error("registries file: %s", message)
            self._tell("Warning", "InvalidRegistriesFile", message)
            return
        self._registries = registries
        if stamp is not None:
            log.info("registries file read path=%s mirrors=%s", self._file, ",".join(registries.mirrors) or "none")

    def _load(self) -> Registries:
        import yaml  # there is seldom such a file

        if self._file.stat().st_size > _BYTES_MAX:
            raise ValueError(f"it is larger than {_BYTES_MAX} bytes")
        try:
            return parse(yaml.safe_load(self._file.read_text(encoding="utf-8")))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"not YAML: {' '.join(str(error).split())}") from None

    def _write(self, registries: Registries) -> None:
        wanted = hosts_files(registries)
        for name, text in wanted.items():
            folder = self._directory / name
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            target = folder / "hosts.toml"
            if not target.exists() or target.read_text() != text:
                new = folder / "hosts.toml.new"
                new.write_text(text)
                new.replace(target)
        for folder in list(self._directory.iterdir()) if self._directory.is_dir() else ():
            if folder.name not in wanted and self._is_ours(folder):
                shutil.rmtree(folder)

    @staticmethod
    def _is_ours(folder: Path) -> bool:
        try:
            return (folder / "hosts.toml").read_text().startswith(MARK)
        except OSError:
            return False
