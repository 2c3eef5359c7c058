"""Calls that change something, made again with their `Idempotency-Key`: the same answer for 24 hours, and the change is
made once. Only a hash of what was asked is kept, and the answer.

A process that ends in the midst of a call leaves its mark for a minute; then the call may be made again. That is as
harmless as it is without a key: each of these calls says how things are to be, none adds to what is.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from infra import keys
from infra.errors import BadInput, Conflict, DaogouError, RedisAway
from infra.logs import logger
from infra.redis_lane import RedisLane
from serving.problems import Refusal

HEADER: Final = b"idempotency-key"
MAX_CHARACTERS: Final = 255
KEPT_S: Final = 24 * 3600
UNDER_WAY_S: Final = 60
_RELEASE: Final = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"

_log = logger(__name__)


class UnderWay(Refusal):
    """The first call with this key is not answered yet."""

    retryable = True

    def __init__(self) -> None:
        super().__init__(409, "idempotency_under_way", "A call with this Idempotency-Key is under way; ask again.")


@dataclass(frozen=True, slots=True)
class Asked:
    """A call: whose, to what, with which key; `body` is all that it sent besides."""

    tenant: str
    caller: str
    method: str
    path: bytes
    key: bytes
    body: bytes

    def check(self) -> None:
        """That the key is one.

        Raises:
            BadInput: it is not.
        """
        if not 1 <= len(self.key) <= MAX_CHARACTERS or not all(0x20 < byte < 0x7F for byte in self.key):
            raise BadInput(
                f"An Idempotency-Key has 1 to {MAX_CHARACTERS} characters of ASCII, and no spaces.",
                path="Idempotency-Key",
                code="wrong_form",
            )

    @property
    def place(self) -> str:
        """The Redis key."""
        return keys.once(self.tenant, _hashed(self.caller, self.method, self.path, self.key).hex())


class _Kept(msgspec.Struct, array_like=True, frozen=True):
    """Under way by `nonce`, or answered."""

    body: bytes
    nonce: str
    answer: bytes | None = None


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_Kept)


class Once:
    """Remembers answers in Redis, for all processes; `new_id` is random."""

    def __init__(self, lane: RedisLane, new_id: Callable[[], str]) -> None:
        self._lane = lane
        self._new_id = new_id

    async def answer(self, asked: Asked, work: Callable[[], Awaitable[bytes]]) -> bytes:
        """The answer of `work`, which is done once.

        Raises:
            BadInput: the key is none.
            Conflict: it was used with another body (`idempotency_conflict`).
            UnderWay: the first call is not answered yet.
            RedisAway: nothing is known of the key, and nothing was done.
            DaogouError: what `work` raises; the key is free again.
        """
        asked.check()
        mine = _Kept(_hashed(asked.body), self._new_id())
        place, mark = asked.place, _encoder.encode(mine)
        taken, found = await self._lane.ask(
            [("SET", place, mark, "NX", "EX", str(UNDER_WAY_S)), ("GET", place)],
        )
        if taken is None:
            return _before(found, mine)
        try:
            made = await work()
        except DaogouError:
            await self._tell(place, ("EVAL", _RELEASE, "1", place, mark))
            raise
        kept = _encoder.encode(msgspec.structs.replace(mine, answer=made))
        await self._tell(place, ("SET", place, kept, "EX", str(KEPT_S)))
        return made

    async def _tell(self, place: str, command: tuple[str | bytes, ...]) -> None:
        """What is lost here costs a promise, not the call: its mark goes by itself, and the call may be made again."""
        try:
            await self._lane.ask([command])
        except RedisAway as error:
            _log.warning("an answer cannot be remembered", place=place, why=error.message)


def _before(found: bytes | None, mine: _Kept) -> bytes:
    if found is None:  # it has just ended
        raise UnderWay
    before = _decoder.decode(found)
    if before.body != mine.body:
        raise Conflict(
            "This Idempotency-Key was used with another body; a new call has a new key.",
            path="Idempotency-Key",
            code="idempotency_conflict",
        )
    if before.answer is None:
        raise UnderWay
    return before.answer


def _hashed(*parts: str | bytes) -> bytes:
    """Each part with its length before it: none can pass for a piece of another."""
    hashed = hashlib.sha256()
    for part in parts:
        raw = part if isinstance(part, bytes) else part.encode()
        hashed.update(b"%d:" % len(raw) + raw)
    return hashed.digest()
