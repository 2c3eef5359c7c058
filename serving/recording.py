"""Writes down a list with everything that it followed from."""

from collections.abc import Sequence
from dataclasses import dataclass

from serving.decision_log import DecisionLog
from serving.decisions import Decision, Shown, Used, Versions, latest, some_of
from serving.looking import Place, Seen
from serving.policies import Policy
from serving.ranking import Inputs
from serving.recommendation_types import Fallback, RecommendationRequest, RecommendedItem
from serving.sources import Facts
from serving.statistics_reader import ItemKnowledge


@dataclass(frozen=True, slots=True)
class Made:
    """A list that was made; `items` with their propensities, `at` in ms."""

    recommendation_id: str
    at: int
    asked: RecommendationRequest
    policy: Policy
    seen: Seen
    facts: Facts
    inputs: Inputs
    items: Sequence[tuple[RecommendedItem, float]]
    fallback: Fallback


class Recorder:
    """Makes records and gives them to the log. `code` is this program's version."""

    def __init__(self, log: DecisionLog, place: Place, knowledge: ItemKnowledge, code: str) -> None:
        self._log = log
        self._place = place
        self._knowledge = knowledge
        self._code = code

    def record(self, made: Made) -> bool:
        """Record a list; whether its record was taken, to be put on the log."""
        seen, policy = made.seen, made.policy
        return self._log.take(
            Decision(
                recommendation_id=made.recommendation_id,
                tenant=self._place.tenant,
                shopper_id=None if seen.ref is None else seen.ref.shopper_id,
                at=made.at,
                request=made.asked,
                inputs=made.inputs,
                shown=[
                    Shown(item.item_id, item.position, propensity, [(one.code, one.evidence) for one in item.reasons])
                    for item, propensity in made.items
                ],
                used=_used(seen, made.facts),
                versions=Versions(
                    code=self._code,
                    model=seen.model_version,
                    policy=policy.version,
                    statistics=self._knowledge.statistics_version,
                ),
                fallback=made.fallback,
                freshness=seen.freshness,
                experiments=policy.experiments,
                holdout=policy.holdout,
            )
        )


def _used(seen: Seen, facts: Facts) -> Used:
    return Used(
        newest=seen.state.newest,
        interactions=latest(list(facts.interactions)),
        cart=some_of(sorted(facts.cart)),
        categories=sorted(facts.categories),
        orders=seen.state.orders,
    )
