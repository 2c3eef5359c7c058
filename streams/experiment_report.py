"""`daogou experiments report`: what the variations of an experiment did, how sure that is, whether to believe it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from models.experiment_statistics import ALARM, Change, Estimate, change, mean, ratio, shoppers_needed, split_chance
from streams.experiment_counting import Counted, Person
from streams.experiment_settings import Wanted

FEW: Final = 100  # shoppers of a variation, below which an interval says little
_FOUND_BY: Final = 0.1  # the change that it is said of how many shoppers would show it


class Arm(msgspec.Struct, frozen=True):
    """A variation: its shoppers who saw it, and their lists."""

    variation: str
    shoppers: int
    lists: int


class Figure(msgspec.Struct, frozen=True):
    """One metric of one variation. `change` is to the first variation; None where there is too little to tell."""

    variation: str
    value: float | None
    change: Change | None = None


class Metric(msgspec.Struct, frozen=True):
    """`goal`: more is better; else it is a guardrail, and less is. `needed`: shoppers a variation that would show a
    change of a tenth.
    """

    name: str
    goal: bool
    figures: list[Figure]
    needed: int | None = None


class Split(msgspec.Struct, frozen=True):
    """How the shoppers are divided beside how they should be. `chance`: how probable that is, of those who were shown
    a list, and of those for whom one was made; None: it cannot be told.
    """

    wanted: dict[str, float]
    chance: float | None
    chance_asked: float | None

    @property
    def broken(self) -> bool:
        """Too improbable to be chance."""
        return any(one is not None and one < ALARM for one in (self.chance, self.chance_asked))


class ExperimentReport(msgspec.Struct, frozen=True):
    """All of it; `verdict` in words, `notes` what else has to be known."""

    experiment: str
    version: int
    arms: list[Arm]
    metrics: list[Metric]
    split: Split | None
    verdict: list[str]
    notes: list[str]


def report(experiment_id: str, counted: Counted, wanted: Wanted | None) -> ExperimentReport:
    """The report. `wanted`: how the experiment is set now; None: it is not any more, and what the others are compared
    with is the first by name.
    """
    weights = None if wanted is None else wanted.weights
    names = list(weights) if weights else sorted(counted.asked)
    people = {name: [one for one in counted.people.values() if one.variation == name] for name in names}
    arms = [Arm(name, len(its), counted.lists[name]) for name, its in people.items()]
    metrics = [_metric(name, goal, of, people) for name, goal, of in _metrics(counted)]
    split = None if weights is None else _split(counted, people, weights)
    verdict = list(_verdict(arms, metrics, split))
    return ExperimentReport(
        experiment_id, counted.version, arms, metrics, split, verdict, list(_notes(counted, split, wanted))
    )


_Of = Callable[[Sequence[Person]], Estimate | None]


def _metrics(counted: Counted) -> Iterator[tuple[str, bool, _Of]]:
    """Name, whether it is a goal, and how it follows from shoppers."""
    yield "clicks a list", True, lambda them: ratio([one.clicks for one in them], [one.lists for one in them])
    yield "shoppers who bought", True, lambda them: mean([float(one.orders > 0) for one in them])
    for currency in sorted({currency for one in counted.people.values() for currency in one.revenue}):
        yield f"revenue a shopper, {currency}", True, _revenue(currency)
    yield "lists of a fallback", False, lambda them: ratio([one.fallback for one in them], [one.lists for one in them])
    yield "empty lists", False, lambda them: ratio([one.empty for one in them], [one.lists for one in them])
    yield "refunds a shopper", False, lambda them: mean([one.refunds for one in them])


def _revenue(currency: str) -> _Of:
    return lambda them: mean([float(one.revenue.get(currency, 0)) for one in them])


def _metric(name: str, goal: bool, of: _Of, people: Mapping[str, Sequence[Person]]) -> Metric:
    found = {variation: of(its) for variation, its in people.items()}
    first = next(iter(found.values()))
    figures = [
        Figure(
            variation,
            None if one is None else one.value,
            None if n == 0 or one is None or first is None else _change(first, one),
        )
        for n, (variation, one) in enumerate(found.items())
    ]
    return Metric(name, goal, figures, shoppers_needed(first, _FOUND_BY) if goal and first is not None else None)


def _change(first: Estimate, other: Estimate) -> Change | None:
    """None where every shopper is the same: what has not been seen may still be rare."""
    return None if first.spread == other.spread == 0 else change(first, other)


def _split(counted: Counted, people: Mapping[str, Sequence[Person]], weights: Mapping[str, float]) -> Split:
    whole = sum(weights.values())
    return Split(
        wanted={name: weight / whole for name, weight in weights.items()},
        chance=split_chance({name: len(its) for name, its in people.items()}, weights),
        chance_asked=split_chance(counted.asked, weights),
    )


def _verdict(arms: Sequence[Arm], metrics: Sequence[Metric], split: Split | None) -> Iterator[str]:
    if split is not None and split.broken:
        yield (
            "Do not believe these figures: shoppers are not divided as they should be, and that is no chance (below "
            f"{ALARM:g}). {_where_broken(split)}"
        )
        return
    few = [arm for arm in arms if arm.shoppers < FEW]
    if few:
        told = ", ".join(f"{arm.shoppers} in {arm.variation!r}" for arm in few)
        yield f"Too few shoppers to say anything: {told}; {FEW} in each are the least. Let it run on."
        return
    for n, arm in enumerate(arms[1:], 1):
        yield f"{arm.variation}: {_of_arm(n, metrics)}"


def _where_broken(split: Split) -> str:
    if split.chance_asked is not None and split.chance_asked < ALARM:
        return (
            "Already the lists that were made are divided wrongly: look at who asks (robots, tests, one client that "
            "asks again and again under new ids), at weights that were changed in between, and at lists answered with "
            "recorded: false."
        )
    return (
        "The lists that were made are divided rightly, those that were shown are not: look at a variation that is "
        "slower, leaves lists empty or breaks the page, and at where view_item_list is sent."
    )


def _of_arm(n: int, metrics: Sequence[Metric]) -> str:
    better, worse, harm = list[str](), list[str](), list[str]()
    for metric in metrics:
        figure, first = metric.figures[n], metric.figures[0]
        if figure.change is None or not figure.change.sure or first.value is None:
            continue
        text = f"{metric.name} {_moved(figure.change, first.value)}"
        if not metric.goal:
            (harm if figure.change.by > 0 else better).append(text)
        else:
            (better if figure.change.by > 0 else worse).append(text)
    if not better and not worse and not harm:
        return f"no difference from {metrics[0].figures[0].variation!r} that could not be chance."
    word = "mixed beside" if better and (worse or harm) else "better than" if better else "worse than"
    return f"{word} {metrics[0].figures[0].variation!r}: {'; '.join([*better, *worse, *harm])}."


def _moved(by: Change, first: float) -> str:
    if first == 0:
        return f"{by.by:+.4g} ({by.low:+.4g} to {by.high:+.4g})"
    return f"{100 * by.by / first:+.1f} % ({100 * by.low / first:+.1f} to {100 * by.high / first:+.1f})"


def _notes(counted: Counted, split: Split | None, wanted: Wanted | None) -> Iterator[str]:
    if wanted is not None and wanted.version != counted.version:
        yield (
            f"The lists are of version {counted.version} of the experiment, which is set by version {wanted.version} "
            "now: weights and order of the variations are taken from there."
        )
    gone = {} if wanted is None else {name: n for name, n in counted.asked.items() if name not in wanted.weights}
    if gone:
        yield f"Variations that are no longer set are left out: {', '.join(sorted(gone))}."
    if split is None:
        yield "The experiment is no longer among the settings: its weights are not known, nor is the split checked."
    elif split.chance is None:
        yield "Too few shoppers to check how they are divided."
    if counted.impressions:
        yield f"Counted are lists that view_item_list says were shown; {counted.not_shown:,} others were not."
    else:
        yield "No view_item_list names a list: each answered one counts as shown."
    for number, text in (
        (counted.other_versions, "lists of other versions of the experiment are left out (--version has them)"),
        (counted.overridden, "lists were asked for with experiment_overrides and are left out"),
        (counted.in_two, "shoppers saw more than one variation and are left out: nobody should"),
        (counted.unknown_lists, "events name a list of which there is no record in this time"),
        (counted.without_price, "orders have no price or no currency and count without revenue"),
    ):
        if number:
            yield f"{number:,} {text}."
    yield "Intervals are of 95 % each, for one look at the end: one in twenty shows a difference where there is none."
    yield "How long answers took is not in the records: see the metrics of the API."
