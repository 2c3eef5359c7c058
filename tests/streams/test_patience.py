"""What is tried for good is tried with a pause that grows to its bound, and nothing else is tried again."""

import pytest

from infra.errors import KafkaAway, RedisAway
from streams.patience import Pauses, for_good

PAUSES = Pauses(0.001, 0.003)


async def test_each_failure_is_told_with_the_pause_that_follows_it() -> None:
    answers: list[str | KafkaAway] = [*(KafkaAway(f"away {n}") for n in range(4)), "there"]
    told: list[tuple[str, float]] = []
    between: list[int] = []

    async def call() -> str:
        answer = answers.pop(0)
        if isinstance(answer, KafkaAway):
            raise answer
        return answer

    async def before_again() -> None:
        between.append(len(answers))

    found = await for_good(call, KafkaAway, lambda why, s: told.append((why.message, s)), PAUSES, before_again)
    assert found == "there"
    assert told == [("away 0", 0.001), ("away 1", 0.002), ("away 2", 0.003), ("away 3", 0.003)]
    assert between == [4, 3, 2, 1]


async def test_what_another_service_says_passes_at_once() -> None:
    async def call() -> None:
        raise RedisAway("away")

    with pytest.raises(RedisAway):
        await for_good(call, KafkaAway, lambda *_: None, PAUSES)
