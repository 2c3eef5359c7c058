"""What is many goes to the outside some at a time: no call, and no list in memory, grows with all that there is."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

_T = TypeVar("_T")


def portions(things: Iterable[_T], most: int) -> Iterator[list[_T]]:
    """The same things in their order, in lists of so many; the last one may be shorter."""
    rest = iter(things)
    while some := list(islice(rest, most)):
        yield some
