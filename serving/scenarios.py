"""Scenarios: what a list is for, as data. A source that is not named here still fills a list that is too
short.
"""

from dataclasses import dataclass
from typing import Final, Literal

ScenarioName = Literal["home", "product", "cart", "category", "search_empty", "message"]
# shelf: what the model prepared; context: what goes with the items of the request; cart: what goes with the
# cart; neighbours: what goes with the latest interactions; category: popular in the categories at hand;
# popular: of all.
SourceName = Literal["shelf", "context", "cart", "neighbours", "category", "popular", "catalogue"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """`blend` holds the sources that are taken in turns, with how many items each turn brings."""

    name: ScenarioName
    blend: tuple[tuple[SourceName, int], ...]
    version: int = 1

    @property
    def policy_version(self) -> str:
        """Which rules made a list."""
        return f"{self.name}-{self.version}"


SCENARIOS: Final[dict[str, Scenario]] = {
    "home": Scenario("home", (("shelf", 1),)),
    "product": Scenario("product", (("context", 3), ("shelf", 1))),
    "cart": Scenario("cart", (("context", 2), ("cart", 1), ("shelf", 1))),
    "category": Scenario("category", (("category", 2), ("shelf", 1))),
    "search_empty": Scenario("search_empty", (("shelf", 1), ("popular", 1))),
    "message": Scenario("message", (("shelf", 1),)),
}
# Once the blend is used up, in this order.
CHAIN: Final[tuple[SourceName, ...]] = ("shelf", "context", "neighbours", "category", "popular", "catalogue")
