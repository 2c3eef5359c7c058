"""Letters that may come too late: events older than the lateness, by the time that they would have if requeued now, and
changes of items, of which a partition hears no earlier one after a later one.
"""

from collections.abc import Callable, Iterator

import msgspec

from features.events import event_time_ms, received
from features.items_changed import ITEMS_CHANGED
from infra.errors import BadInput
from infra.topics import EVENTS
from streams.letters.letter import Letter

Old = Callable[[Letter], bool]


class _Named(msgspec.Struct):
    event_name: str = ""


_named = msgspec.json.Decoder(_Named)


def older_than(lateness_ms: int, now_ms: int) -> Old:
    """Whether a letter's event is that old; of bytes that hold no event nobody can say, so they are not."""

    def old(letter: Letter) -> bool:
        if letter.topic != EVENTS or is_news(letter):
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


def is_news(letter: Letter) -> bool:
    """Whether it tells of changes of items."""
    try:
        return letter.topic == EVENTS and _named.decode(letter.value or b"").event_name == ITEMS_CHANGED
    except (ValueError, RecursionError):
        return False


def warnings(old: int, news: int, lateness_h: int) -> Iterator[str]:
    """What it means for so many old letters, and so many that tell of changes of items."""
    if old:
        yield (
            f"{old:,} of them happened more than {lateness_h} h ago: where their shopper came since, they are late, "
            "are counted as such and change no row; their marks say that they were old"
        )
    if news:
        yield (
            f"{news:,} of them tell of changes of items: where the partition has heard of later ones since, these "
            "count as duplicates and say nothing to anybody"
        )
