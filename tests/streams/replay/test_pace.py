"""The limit of a replay, and what its progress says: known answers on a clock that is moved by hand."""

from io import StringIO

from rich.console import Console

from streams.progress import Phases
from streams.replay.pace import Rate


class Hand:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


async def test_a_thousand_events_at_a_hundred_a_second_take_ten_seconds() -> None:
    hand = Hand()
    rate = Rate(100, hand, hand.sleep)
    for _ in range(40):
        await rate.took(25)
    assert hand.now == 110.0


async def test_what_was_not_used_gives_no_right_to_a_burst() -> None:
    hand = Hand()
    rate = Rate(100, hand, hand.sleep)
    await rate.took(10)
    hand.now += 60
    await rate.took(50)
    await rate.took(50)
    assert [round(each, 9) for each in hand.slept] == [0.1, 0.5, 0.5]


async def test_no_limit_waits_for_nothing() -> None:
    hand = Hand()
    await Rate(0, hand, hand.sleep).took(10_000)
    assert hand.slept == []


def test_a_limited_replay_comes_in_small_steps() -> None:
    assert [Rate(limit, Hand()).batch(10_000) for limit in (0, 1, 400, 1_000_000)] == [10_000, 1, 100, 10_000]


def test_progress_tells_the_rate_and_the_time_left() -> None:
    hand, said = Hand(), StringIO()
    with Phases(Console(file=said), hand) as phases, phases.phase("replayed", 10_000, "events", done=1000) as advance:
        hand.now += 20
        advance(3000)
    assert said.getvalue().splitlines()[0] == "replayed: 4,000 of 10,000 events, 150/s, 40 s left"
