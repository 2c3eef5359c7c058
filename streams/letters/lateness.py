"""Letters that may come too late: events older than the lateness, by the time that they would have if requeued now."""

from collections.abc import Callable

from features.events import event_time_ms, received
from infra.errors import BadInput
from infra.topics import EVENTS
from streams.letters.letter import Letter

Old = Callable[[Letter], bool]


def older_than(lateness_ms: int, now_ms: int) -> Old:
    """Whether a letter's event is that old; of bytes that hold no event nobody can say, so they are not."""

    def old(letter: Letter) -> bool:
        if letter.topic != EVENTS:
            return False
        try:
            at = event_time_ms(received(letter.value or b"", now_ms))
        except BadInput:
            return False
        return at < now_ms - lateness_ms

    return old


def never(letter: Letter) -> bool:  # noqa: ARG001
    """No letter is old."""
    return False


def warning(count: int, lateness_h: int) -> str:
    """What it means for them."""
    return (
        f"{count:,} of them happened more than {lateness_h} h ago: where their shopper has come since, they are late, "
        "are counted as such and change no row, though they are marked requeued"
    )
