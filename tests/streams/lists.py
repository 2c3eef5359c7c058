"""Decision records and events of a made-up shop, for what is told from the logs."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from features.events import Event, EventItem, EventName
from serving.decisions import Decision, Shown, Used, Versions
from serving.ranking import Inputs
from serving.recommendation_types import Experiment, Fallback, Freshness, RecommendationRequest
from serving.scenarios import SCENARIOS, ScenarioName

START = datetime(2026, 11, 1, 12, tzinfo=UTC)
START_MS = int(START.timestamp() * 1000)
HOUR_MS = 3_600_000


def decision(
    list_id: str,
    items: Sequence[str],
    *,
    hour: float = 0.0,
    user: str | None = "ann",
    anonymous: str | None = None,
    scenario: ScenarioName = "home",
    variation: str | None = None,
    version: int = 2,
    override: bool = False,
    fallback: bool = False,
    inputs: Inputs | None = None,
    propensities: Sequence[float] | None = None,
) -> Decision:
    """A list of experiment `e`, where a variation is given; made so many hours after the start."""
    who = f"u-{user}" if user is not None else None if anonymous is None else f"a-{anonymous}"
    chances = propensities or [1.0] * len(items)
    return Decision(
        recommendation_id=list_id,
        tenant="default",
        shopper_id=who,
        at=START_MS + int(hour * HOUR_MS),
        request=RecommendationRequest(
            user_id=user,
            anonymous_id=anonymous,
            scenario=scenario,
            count=max(len(items), 1),
            experiment_overrides={"e": variation} if override and variation else {},
        ),
        inputs=inputs or Inputs(scenario=SCENARIOS[scenario], count=max(len(items), 1), seed=0, lists=[]),
        shown=[Shown(item, n, chance) for n, (item, chance) in enumerate(zip(items, chances, strict=True), 1)],
        used=Used(),
        versions=Versions(
            code="0",
            model="m1",
            policy=f"{scenario}-1" + (f"+e-{version}.{variation}" if variation else ""),
            statistics="s",
        ),
        fallback=Fallback(used=fallback),
        freshness=Freshness(None, 0, stale=False),
        experiments=[] if variation is None else [Experiment("e", variation)],
    )


_numbers = iter(range(10**9))


def did(
    name: EventName,
    *items: str,
    hour: float = 0.1,
    user: str | None = "ann",
    anonymous: str | None = None,
    named: str | None = None,
    price: str | None = None,
    currency: str | None = "EUR",
    order: str | None = None,
) -> Event:
    """An event so many hours after the start; each has an id of its own."""
    at = START + timedelta(hours=hour)
    return Event(
        event_name=name,
        occurred_at=at,
        received_at=at,
        event_id=str(next(_numbers)),
        user_id=user,
        anonymous_id=anonymous,
        items=tuple(EventItem(item_id=one, price=Decimal(price) if price else None) for one in items),
        recommendation_id=named,
        currency=currency,
        transaction_id=order,
    )
