"""The processes that fit one model together, as the fit sees them; here the one that is alone."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn


class Part(NamedTuple):
    """Rows [begin, end) of a table that is cut over the ranks."""

    begin: int
    end: int


class Ranks(Protocol):
    """Who fits. Rank 0 leads: it alone reads, writes and speaks."""

    rank: int
    size: int
    device: torch.device

    def called(self, arguments: Callable[[], tuple[Any, ...]]) -> None:
        """Rank 0 calls the others into a fit, with what it fits."""
        ...

    def follow(self) -> None:
        """What a rank other than 0 does: fit whenever it is called, until it is let go."""
        ...

    def told(self, value: Any) -> Any:
        """What rank 0 has, on every rank."""
        ...

    def gathered(self, value: Any) -> list[Any]:
        """What each rank has, in their order, on rank 0."""
        ...

    def joined(self, part: Tensor) -> Tensor:
        """The rows of all ranks, in their order, on rank 0; elsewhere they are not to be used."""
        ...

    def summed(self, values: Tensor) -> Tensor:
        """Sums over the ranks, on every rank."""
        ...

    def spread(self, items: Any) -> AbstractContextManager[Mapping[str, Part]]:
        """In the block all ranks train the item tower's tables; at its end rank 0 has what was learned.

        It gives which rows this rank holds of the tower's parameters that are cut, by their names.
        """
        ...

    def averaged(self, parameters: list[nn.Parameter]) -> None:
        """The gradients of what each rank has a copy of become the ranks' mean."""
        ...

    def watched(self) -> AbstractContextManager[None]:
        """A rank that is lost meanwhile is told by name."""
        ...


class Alone:
    """One process."""

    rank = 0
    size = 1

    def __init__(self, device: str = "cpu") -> None:
        self.device = torch.device(device)

    def called(self, arguments: Callable[[], tuple[Any, ...]]) -> None:
        """Nobody is there to call."""

    def follow(self) -> None:
        """Nobody leads it."""

    def told(self, value: Any) -> Any:
        """The same."""
        return value

    def gathered(self, value: Any) -> list[Any]:
        """Its own alone."""
        return [value]

    def joined(self, part: Tensor) -> Tensor:
        """The same."""
        return part

    def summed(self, values: Tensor) -> Tensor:
        """The same."""
        return values

    def spread(self, items: Any) -> AbstractContextManager[Mapping[str, Part]]:  # noqa: ARG002
        """They stay."""
        return nullcontext({})

    def averaged(self, parameters: list[nn.Parameter]) -> None:
        """They are."""

    def watched(self) -> AbstractContextManager[None]:
        """None can be lost."""
        return nullcontext()
