"""Keep our own containerd running, whoever dies.

Enters: settings.Settings.
Leaves: the path of a socket whose CRI is ready; log lines when containerd came or went.
Holds: containerd is in a session of its own and writes its log to a file, not to us, so it and its containers outlive edgekube
(also kill -9 of it); the next edgekube adopts it when it still runs with the same configuration, and restarts it when not.
containerd's own death harms no container: its shims live on, and a new one takes them over.
Bound: limits.CONTAINERD_LOG_BYTES_MAX of log, twice.
Next: containerd.cri, agent.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio
from msgspec import Struct

from edgekube import limits
from edgekube.containerd import host, pause_image
from edgekube.containerd.config import Instance, render
from edgekube.containerd.cri import CriRuntime, connect
from edgekube.containerd.handlers import handlers
from edgekube.containerd.host import RuntimeUnavailable
from edgekube.containerd.model import RuntimeFailure
from edgekube.containerd.processes import processes, start_of
from edgekube.settings import Settings

log = logging.getLogger("edgekube.containerd")

#: Seconds for containerd to answer after it was started: 0.1 on a PC, several with a big database on a slow SD card.
_START_SECONDS: Final = 60.0
#: Seconds for a named, foreign containerd to answer.
_FOREIGN_SECONDS: Final = 10.0
#: Seconds for containerd to end on SIGTERM before it is killed.
_STOP_SECONDS: Final = 10.0
_BACKOFF_SECONDS: Final = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
#: Seconds of life after which the next death is a new story for the backoff.
_STEADY_SECONDS: Final = 30.0
_LOG_CHECK_SECONDS: Final = 60.0
#: sun_path is 108 bytes with its terminating zero (unix(7)).
_SOCKET_PATH_BYTES_MAX: Final = 107


class _Running(Struct, frozen=True):
    """A containerd of ours. ``starttime`` tells it from a later process with the same pid."""

    pid: int
    starttime: str
    config_digest: str

    def write(self, path: Path) -> None:
        scratch = path.with_suffix(".new")
        scratch.write_text(f"{self.pid} {self.starttime} {self.config_digest}\n")
        scratch.replace(path)

    @classmethod
    def read(cls, path: Path) -> _Running | None:
        try:
            pid, starttime, digest = path.read_text().split()
            running = cls(int(pid), starttime, digest)
        except (OSError, ValueError):
            return None
        return running if start_of(running.pid) == starttime else None


def instance_of(settings: Settings) -> Instance:
    """What this host and these settings make of containerd. Makes the directories; blocks (tries a mount)."""
    root = settings.containerd_root
    root.mkdir(parents=True, exist_ok=True, mode=0o711)
    settings.containerd_state.mkdir(parents=True, exist_ok=True, mode=0o711)
    settings.cni_conf_dir.mkdir(parents=True, exist_ok=True)
    registries = settings.agent_dir / "registries"
    registries.mkdir(parents=True, exist_ok=True, mode=0o700)
    snapshotter = _snapshotter(root)
    return Instance(
        root=root,
        state=settings.containerd_state,
        sandbox_image=pause_image.REFERENCE,
        cni_conf_dir=settings.cni_conf_dir,
        cni_bin_dirs=host.cni_bin_dirs(),
        registries_dir=registries,
        snapshotter=snapshotter,
        restrict_oom_score_adj=not host.may_lower_oom_score(),
        handlers=handlers(functools.partial(shutil.which, path=host.SEARCH_PATH)),
    )


def _snapshotter(root: Path) -> str:
    """What was chosen once stays: containers made on one snapshotter cannot be read by the other."""
    recorded = root / "snapshotter"
    if recorded.exists() and (chosen := recorded.read_text().strip()) in ("overlayfs", "native"):
        return chosen
    chosen = "overlayfs" if host.overlay_works(root) else "native"
    if chosen == "native":
        log.warning("snapshotter=native dir=%s reason=no-overlayfs-here: each container copies its image", root)
    recorded.write_text(chosen + "\n")
    return chosen


class Supervisor:
    """One containerd of ours: ``start`` adopts or starts it, ``ended`` waits for its death."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.log_file = instance.root / "containerd.log"
        self.config_file = instance.root / "config.toml"
        self.pid_file = instance.state / "containerd.pid"
        self._child: subprocess.Popen[bytes] | None = None
        self._running: _Running | None = None

    @property
    def pid(self) -> int:
        """Of the containerd that was started or adopted last."""
        assert self._running is not None
        return self._running.pid

    async def start(self) -> None:
        """Returns once the CRI is ready. Raises RuntimeUnavailable with containerd's last words when it does not get there."""
        address = self.instance.address
        if len(os.fsencode(address)) > _SOCKET_PATH_BYTES_MAX:
            raise RuntimeUnavailable(f"{address} is longer than a socket path may be: choose a shorter --run-dir")
        binary = host.containerd_binary()
        text = render(self.instance, await trio.to_thread.run_sync(host.containerd_version, binary))
        digest = hashlib.sha256(text.encode()).hexdigest()
        running = _Running.read(self.pid_file)
        if running is not None and (reason := await self._reason_to_restart(running, digest)):
            log.info("containerd=restart pid=%d reason=%s", running.pid, reason)
            await self._end(running)
            running = None
        if running is not None:
            log.info("containerd=adopted pid=%d address=%s", running.pid, address)
        else:
            for stray in self._strays():
                log.warning("containerd=stray pid=%d reason=not-in-pid-file", stray.pid)
                await self._end(stray)
            running = self._spawn(binary, text, digest)
        self._running = running
        try:
            await self._become_ready(running)
        except (RuntimeUnavailable, RuntimeFailure):
            # It runs and is of no use: the next attempt begins afresh. Containers do not need it meanwhile.
            await self._end(running)
            raise

    async def _reason_to_restart(self, running: _Running, digest: str) -> str:
        """Empty to leave it running."""
        if running.config_digest != digest:
            return "configuration-changed"
        try:
            if os.readlink(f"/proc/{running.pid}/exe").endswith(" (deleted)"):
                return "package-upgraded"
        except OSError:
            return "gone"
        return "" if await self._answers() else "does-not-answer"

    def _strays(self) -> list[_Running]:
        """Any containerd of our configuration that no pid file knows: edgekube died, or the disk was full, after starting it.

        It holds the lock on containerd's database, so a second one would wait for ever.
        """
        arguments = ("--config", str(self.config_file))
        return [
            _Running(process.pid, process.started, "")
            for process in processes()
            if process.words[1:3] == arguments and process.program == "containerd"
        ]

    def _spawn(self, binary: str, text: str, digest: str) -> _Running:
        self.config_file.write_text(text)
        rotate_log(self.log_file, limits.CONTAINERD_LOG_BYTES_MAX)
        descriptor = os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            environment = {key: value for key, value in os.environ.items() if key != "NOTIFY_SOCKET"}
            self._child = subprocess.Popen(
                [binary, "--config", str(self.config_file)],
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                cwd="/",
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise RuntimeUnavailable(f"cannot start {binary}: {error}") from error
        finally:
            os.close(descriptor)
        running = _Running(self._child.pid, start_of(self._child.pid), digest)
        running.write(self.pid_file)
        log.info("containerd=started pid=%d address=%s", running.pid, self.instance.address)
        return running

    async def _answers(self) -> bool:
        with trio.move_on_after(_STOP_SECONDS):
            async with connect(self.instance.address) as runtime:
                try:
                    await runtime.version()
                    return True
                except RuntimeFailure as failure:
                    # A containerd that is still starting says so; nobody at the socket is UNAVAILABLE.
                    return failure.code != "UNAVAILABLE"
        return False

    async def _become_ready(self, running: _Running) -> None:
        async with connect(self.instance.address) as runtime:
            with trio.move_on_after(_START_SECONDS):
                try:
                    await wait_until_initialized(runtime, lambda: self._alive(running))
                except CriMissing as missing:
                    raise RuntimeUnavailable(
                        f"containerd started without its CRI plugin ({missing}):\n{self._last_words()}"
                    ) from None
                await pause_image.ensure(runtime)
                await _wait_until_runtime_ready(runtime, lambda: self._alive(running))
                return
        raise RuntimeUnavailable(f"containerd does not answer on {self.instance.address}:\n{self._last_words()}")

    def _alive(self, running: _Running) -> None:
        if self._child is not None and self._child.pid == running.pid and self._child.poll() is not None:
            raise RuntimeUnavailable(f"containerd ended with status {self._child.returncode}:\n{self._last_words()}")
        if start_of(running.pid) != running.starttime:
            raise RuntimeUnavailable(f"containerd (pid {running.pid}) is gone:\n{self._last_words()}")

    def _last_words(self) -> str:
        try:
            with self.log_file.open("rb") as file:
                file.seek(max(0, self.log_file.stat().st_size - 4096))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return "(no log)"
        telling = [line for line in lines if "level=error" in line or "level=fatal" in line or not line.startswith("time=")]
        return "\n".join((telling or lines)[-5:])

    async def ended(self) -> None:
        """Returns when containerd has died; works for an adopted one too (pidfd_open(2))."""
        running = self._running
        assert running is not None
        await _wait_for_exit(running)
        if self._child is not None and self._child.pid == running.pid:
            self._child.wait()

    async def stop(self) -> None:
        """End containerd; containers live on under their shims."""
        running = self._running or _Running.read(self.pid_file)
        if running is not None:
            await self._end(running)
        self.pid_file.unlink(missing_ok=True)

    async def _end(self, running: _Running) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if start_of(running.pid) != running.starttime:
                break
            os.kill(running.pid, number)
            with trio.move_on_after(_STOP_SECONDS):
                await _wait_for_exit(running)
        if self._child is not None and self._child.pid == running.pid:
            self._child.wait()


async def _wait_for_exit(running: _Running) -> None:
    try:
        descriptor = os.pidfd_open(running.pid)
    except ProcessLookupError:
        return
    try:
        # Checked after opening: from here on the descriptor is of this process, not of a later one with its number.
        if start_of(running.pid) == running.starttime:
            await trio.lowlevel.wait_readable(descriptor)
    finally:
        trio.lowlevel.notify_closing(descriptor)
        os.close(descriptor)


class CriMissing(RuntimeUnavailable):
    """Somebody answers, but not to the CRI v1."""


def _no_check() -> None:
    return None


async def wait_until_initialized(runtime: CriRuntime, check: Callable[[], None] = _no_check) -> None:
    """Poll until the CRI answers at all: for up to a second after its start it says "server is not initialized yet"."""
    while True:
        check()
        try:
            await runtime.conditions()
            return
        except RuntimeFailure as failure:
            if failure.code == "UNIMPLEMENTED":
                raise CriMissing(failure.message) from None
        await trio.sleep(0.02)


async def _wait_until_runtime_ready(runtime: CriRuntime, check: Callable[[], None] = _no_check) -> None:
    while True:
        check()
        ready, reason = (await runtime.conditions()).get("RuntimeReady", (False, "no RuntimeReady condition"))
        if ready:
            return
        log.debug("containerd=not-ready reason=%s", reason)
        await trio.sleep(0.02)


def rotate_log(path: Path, bytes_max: int) -> None:
    """Keep ``path`` below ``bytes_max`` and the piece before it in ``path``.1.

    Copied and truncated, not renamed: containerd holds the file open (for appending) and has no way to be told to reopen it.
    Lines written between copy and truncation are lost.
    """
    try:
        if path.stat().st_size < bytes_max:
            return
    except FileNotFoundError:
        return
    previous = path.with_name(path.name + ".1")
    scratch = path.with_name(path.name + ".new")
    try:
        with path.open("rb") as source, scratch.open("wb") as target:
            os.fchmod(target.fileno(), 0o600)
            shutil.copyfileobj(source, target)
        scratch.replace(previous)
    except OSError as error:  # a full disk is no reason to fill it further
        log.warning("containerd-log=dropped error=%s", error)
        scratch.unlink(missing_ok=True)
    os.truncate(path, 0)


@asynccontextmanager
async def supervise(settings: Settings) -> AsyncIterator[Path]:
    """The socket of a ready CRI for as long as the block lasts; containerd is left running after it.

    With ``settings.containerd_address`` that socket is only checked, never started or configured. Raises RuntimeUnavailable,
    whose text tells the operator what to do.
    """
    if settings.containerd_address:
        yield await check_foreign(settings.containerd_address)
        return
    instance = await trio.to_thread.run_sync(instance_of, settings)
    supervisor = Supervisor(instance)
    await supervisor.start()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_running, supervisor)
        nursery.start_soon(_keep_log_small, supervisor)
        yield instance.address
        nursery.cancel_scope.cancel()


async def check_foreign(address: str) -> Path:
    """The path of a socket that the operator named, once its CRI answered. Raises RuntimeUnavailable."""
    path = Path(address.removeprefix("unix://"))
    async with connect(path) as runtime:
        last = "no answer"
        with trio.move_on_after(_FOREIGN_SECONDS):
            while True:
                try:
                    await runtime.conditions()
                    return path
                except RuntimeFailure as failure:
                    if failure.code == "UNIMPLEMENTED":
                        raise RuntimeUnavailable(
                            f"{path} answers, but not to the CRI v1: see disabled_plugins in the configuration of its containerd"
                        ) from None
                    last = failure.message
                await trio.sleep(0.1)
    raise RuntimeUnavailable(f"no container runtime answers on {path} (--containerd-address): {last}")


async def keep_running(supervisor: Supervisor) -> None:
    """Start containerd again whenever it dies, sooner at first, each 10 s when it does not help."""
    failures = 0
    while True:
        began = trio.current_time()
        await supervisor.ended()
        if trio.current_time() - began > _STEADY_SECONDS:
            failures = 0
        log.warning("containerd=died pid=%d", supervisor.pid)
        while True:
            await trio.sleep(_BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)])
            failures += 1
            try:
                await supervisor.start()
                break
            except (RuntimeUnavailable, RuntimeFailure, OSError) as error:
                log.error("containerd=cannot-start attempt=%d error=%s", failures, error)


async def _keep_log_small(supervisor: Supervisor) -> None:
    while True:
        await trio.sleep(_LOG_CHECK_SECONDS)
        rotate_log(supervisor.log_file, limits.CONTAINERD_LOG_BYTES_MAX)
