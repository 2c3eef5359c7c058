"""Reports of experiments, of attribution and of policies as a person reads them: tables, and sentences."""

from collections.abc import Iterator

from rich.table import Table

from models.experiment_statistics import Change
from streams.attribution_report import AttributionReport
from streams.experiment_report import ExperimentReport, Figure, Metric, Split
from streams.policy_estimate import PolicyReport

Told = Table | str


def experiment_tables(found: ExperimentReport) -> Iterator[Told]:
    """The verdict comes first."""
    yield f"experiment {found.experiment}, version {found.version}"
    yield from found.verdict
    arms = _table(("variation", "shoppers", "lists"))
    for arm in found.arms:
        arms.add_row(arm.variation, f"{arm.shoppers:,}", f"{arm.lists:,}")
    yield arms
    metrics = _table(("", "variation", "", "difference, 95 %"))
    for metric in found.metrics:
        for n, figure in enumerate(metric.figures):
            metrics.add_row(metric.name if n == 0 else "", figure.variation, _value(figure), _change(figure, metric))
    yield metrics
    if found.split is not None:
        yield _split(found.split)
    needed = [f"{one.name} {one.needed:,}" for one in found.metrics if one.needed is not None]
    if needed:
        yield f"Shoppers a variation that would show a change of a tenth: {', '.join(needed)}."
    yield from found.notes


def attribution_tables(found: AttributionReport) -> Iterator[Told]:
    """A line for each scenario."""
    table = _table(("scenario", "lists", "shown", "clicks", "a list", "carts", "orders", "items", "revenue", "named"))
    for one in found.scenarios:
        table.add_row(
            one.scenario,
            *(f"{n:,}" for n in (one.lists, one.impressions, one.clicks)),
            f"{one.clicks / one.lists:.4f}" if one.lists else "",
            *(f"{n:,}" for n in (one.carts, one.purchases, one.bought)),
            ", ".join(f"{money:,} {currency}" for currency, money in one.revenue.items()),
            "" if one.named is None else f"{100 * one.named:.0f} %",
        )
    yield table
    without = sum(one.without_price for one in found.scenarios)
    if without:
        yield f"{without:,} lines that were bought have no price or no currency and count without revenue."
    for kind, number in found.not_owed.items():
        yield f"{number:,} lines of events ({kind}) are owed to no list."
    if found.unknown_lists:
        yield f"{found.unknown_lists:,} events name a list of which there is no record in this time."
    yield "shown: lists that view_item_list names; named: how much of it an event owed to its list by its id."


def policy_tables(found: PolicyReport) -> Iterator[Told]:
    """The lists as they were beside what the other scenario would have made of them."""
    yield (
        f"scenario {found.scenario}: {found.found.lists:,} lists of {found.found.shoppers:,} shoppers, "
        f"{found.explored:,} with something to explore"
    )
    table = _table(("", f"{found.reward} a list, 95 %"))
    for name, one in (("as they were", found.found.logged), ("IPS", found.found.ips), ("SNIPS", found.found.snips)):
        table.add_row(name, f"{one.value:.4f} ({one.low:.4f} to {one.high:.4f})")
    yield table
    yield f"effective sample size: {found.found.effective:,.0f} lists"
    for why, number in found.left_out.items():
        yield f"{number:,} lists are left out: {why}."
    yield from found.notes


def _value(figure: Figure) -> str:
    return "unknown" if figure.value is None else f"{figure.value:.4g}"


def _change(figure: Figure, metric: Metric) -> str:
    if figure.change is None:
        return ""
    text = f"{figure.change.by:+.4g} ({figure.change.low:+.4g} to {figure.change.high:+.4g})"
    first = metric.figures[0].value
    share = f", {100 * figure.change.by / first:+.1f} %" if first else ""
    return f"{text}{share}{_mark(figure.change, goal=metric.goal)}"


def _mark(change: Change, *, goal: bool) -> str:
    if not change.sure:
        return ""
    return " better" if (change.by > 0) == goal else " worse"


def _split(split: Split) -> str:
    wanted = ", ".join(f"{name} {100 * share:.1f} %" for name, share in split.wanted.items())
    chances = ((split.chance_asked, "of those who asked"), (split.chance, "of those who were shown a list"))
    told = "; ".join(f"{one:.3g} {who}" for one, who in chances if one is not None)
    return f"Wanted split: {wanted}. How probable the one that was found is: {told or 'too few to tell'}."


def _table(headings: tuple[str, ...]) -> Table:
    shown = Table(show_header=any(headings))
    for n, heading in enumerate(headings):
        shown.add_column(heading, justify="left" if n == 0 else "right", overflow="fold")
    return shown
