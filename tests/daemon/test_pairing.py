"""The agent's end of pairing, against a real server over TLS: names, displays, and what a wrong code leads to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from edgekube.api.allowed_serials import NAMESPACE, AllowedSerial, as_secret
from edgekube.api.kinds import SECRET
from edgekube.client.joining import Joined
from edgekube.daemon.pairing import candidate_for, join_by_pairing
from edgekube.daemon.refusal import JoinRefused
from edgekube.pki.join_token import fingerprint
from edgekube.settings import Settings
from tests.server.joining import Cluster, Machine
from tests.server.test_pairing import pairing_cluster


class Board:
    """An agent in the background, with the server's address (looking around is another test's)."""

    def __init__(self, server: Cluster, run_dir: Path, name: str = "pi-7", *, serial: str = "", **settings: object) -> None:
        self.machine = Machine(name, serial)
        url = f"https://127.0.0.1:{server.secured.port}"
        self.settings = Settings(name, run_dir=run_dir, server=(url,), **settings)  # type: ignore[arg-type]
        self.display = run_dir / "agent/pairing-code"
        self.joined: Joined | None = None
        self.refused: JoinRefused | None = None
        self._over = trio.Event()

    async def run(self, trusted: tuple[str, ...] = ()) -> None:
        machine = self.machine
        try:
            self.joined = await join_by_pairing(self.settings, machine.key, machine.serial, lambda name: f"{name}-other", trusted)
        except JoinRefused as error:
            self.refused = error
        self._over.set()

    async def code(self, unlike: str = "") -> tuple[str, str]:
        """(code, node name) on the display, once it shows another than ``unlike``."""

        def shown() -> bool:
            return self.display.exists() and self.display.read_text().split()[:1] not in ([], [unlike])

        await until(shown)
        code, name = self.display.read_text().split()
        return code, name

    async def over(self) -> None:
        with trio.fail_after(60):
            await self._over.wait()


async def until(question: Callable[[], bool]) -> None:
    with trio.fail_after(60):
        while not question():
            await trio.lowlevel.checkpoint()


async def test_the_display_shows_a_code_until_it_is_over(tmp_path: Path) -> None:
    async with pairing_cluster(tmp_path) as (cluster, desk, nursery):
        board = Board(cluster, tmp_path / "run")
        nursery.start_soon(board.run)
        code, name = await board.code()
        assert board.display.stat().st_mode & 0o777 == 0o644
        assert (await desk.approve(name, f"{(int(code.replace('-', '')) + 1) % 10**6:06d}")).status == 403
        # It begins anew by itself, with another code.
        again, _ = await board.code(unlike=code)
        assert (await desk.approve(name, again)).status == 200
        await board.over()
        assert board.joined is not None and board.joined.node_name == "pi-7"
        assert not board.display.exists()


async def test_a_name_that_is_taken_is_changed_unless_it_was_chosen(tmp_path: Path) -> None:
    async with pairing_cluster(tmp_path) as (cluster, desk, nursery):
        first = Board(cluster, tmp_path / "first")
        nursery.start_soon(first.run)
        code, _ = await first.code()
        await desk.approve("pi-7", code)
        await first.over()

        second = Board(cluster, tmp_path / "second")
        nursery.start_soon(second.run)
        code, name = await second.code()
        assert name == "pi-7-other"
        assert (await desk.approve(name, code)).status == 200
        await second.over()
        assert second.joined is not None and second.joined.node_name == "pi-7-other"

        third = Board(cluster, tmp_path / "third", node_name_given=True)
        await third.run()
        assert third.refused is not None and "belongs to another machine" in str(third.refused)


async def test_the_list_gives_a_board_its_name(tmp_path: Path) -> None:
    async with pairing_cluster(tmp_path) as (cluster, _, _):
        await cluster.verbs.create(SECRET, NAMESPACE, as_secret([AllowedSerial("S1", "press-3"), AllowedSerial("S2", "press-4")]))
        board = Board(cluster, tmp_path / "run", serial="s1")
        await board.run()
        assert board.joined is not None and board.joined.node_name == "press-3"
        chosen = Board(cluster, tmp_path / "other", "mine", serial="s2", node_name_given=True)
        await chosen.run()
        assert chosen.refused is not None and "press-4" in str(chosen.refused)


async def test_only_the_cluster_that_was_meant_is_paired_with(tmp_path: Path) -> None:
    async with pairing_cluster(tmp_path) as (cluster, desk, nursery):
        ca = fingerprint(cluster.secured.authority.certificate_pem.decode())
        # A board that was a member elsewhere, and one that was told of another fingerprint: they go on looking.
        former = Board(cluster, tmp_path / "former", "former")
        nursery.start_soon(former.run, ("ee" * 32,))
        other = Board(cluster, tmp_path / "other", "other", cluster="ee" * 8)
        nursery.start_soon(other.run)
        meant = Board(cluster, tmp_path / "meant", "meant", cluster=ca[:16])
        nursery.start_soon(meant.run, (ca,))
        code, name = await meant.code()
        assert [each["name"] for each in await desk.pending()] == ["meant"]
        assert (await desk.approve(name, code)).status == 200
        await meant.over()
        assert not former.display.exists() and not other.display.exists()


async def test_what_was_rejected_asks_again_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with pairing_cluster(tmp_path) as (cluster, desk, nursery):
        board = Board(cluster, tmp_path / "run")
        nursery.start_soon(board.run)
        await board.code()
        assert (await desk.reject("pi-7")).status == 200
        await until(lambda: "trying again in 15 s: the pairing is rejected" in caplog.text)
        assert not board.display.exists() and board.joined is None


async def test_a_server_that_is_named_is_the_only_candidate() -> None:
    candidate = await candidate_for(
        Settings("pi-7", server=("https://192.0.2.1:6443", "https://[2001:db8::1]:7443")), ["ab" * 32]
    )
    assert candidate is not None
    assert candidate.addresses == (("192.0.2.1", 6443), ("2001:db8::1", 7443))
    assert candidate.cas == {"ab" * 32}
