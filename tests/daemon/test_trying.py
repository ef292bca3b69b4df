"""One good address among many lies."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from edgekube import limits
from edgekube.client.addresses import Address
from edgekube.daemon.trying import NoneWorked, first_that_works

GOOD = ("192.0.2.7", 6443)
LIES = [(f"203.0.113.{number % 250}", 1000 + number) for number in range(512)]


class Lan:
    """``GOOD`` answers after 20 ms; the others never, or with a refusal."""

    def __init__(self, *, refuse: bool = False) -> None:
        self.refuse = refuse
        self.under_way = 0
        self.most = 0
        self.asked: list[Address] = []

    async def knock(self, address: Address) -> str:
        self.asked.append(address)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await trio.sleep(0.02)
            if address == GOOD:
                return "welcome"
            if self.refuse:
                raise OSError("refused")
            await trio.sleep_forever()
            raise AssertionError
        finally:
            self.under_way -= 1


async def test_the_first_one_is_asked_alone_when_it_answers(autojump_clock: trio.testing.MockClock) -> None:
    lan = Lan()
    assert await first_that_works([GOOD, *LIES], lan.knock) == (GOOD, "welcome")
    assert lan.asked == [GOOD]


@pytest.mark.parametrize("place", [1, 100, 511])
async def test_lies_that_do_not_answer_delay_the_good_one_by_a_bounded_time(
    autojump_clock: trio.testing.MockClock, place: int
) -> None:
    lan = Lan()
    began = trio.current_time()
    assert await first_that_works([*LIES[:place], GOOD, *LIES[place:]], lan.knock) == (GOOD, "welcome")
    waves = place / limits.TRY_AT_ONCE_MAX + 1
    assert trio.current_time() - began < place * limits.TRY_HEAD_START_SECONDS + waves * limits.TRY_SECONDS
    assert lan.most <= limits.TRY_AT_ONCE_MAX and lan.under_way == 0


async def test_refusals_take_no_time(autojump_clock: trio.testing.MockClock) -> None:
    began = trio.current_time()
    assert (await first_that_works([*LIES, GOOD], Lan(refuse=True).knock))[1] == "welcome"
    assert trio.current_time() - began < len(LIES) * limits.TRY_HEAD_START_SECONDS


async def test_nobody_is_waited_for_without_end(autojump_clock: trio.testing.MockClock) -> None:
    began = trio.current_time()
    with pytest.raises(NoneWorked) as caught:
        await first_that_works(LIES, Lan().knock)
    assert caught.value.__cause__ is None
    assert trio.current_time() - began <= limits.TRY_ALL_SECONDS
    with pytest.raises(NoneWorked) as caught:
        await first_that_works(LIES[:3], Lan(refuse=True).knock)
    assert str(caught.value.__cause__) == "refused"
