"""The gate before a release: what a candidate has to be at least as good as, on weeks that it has not seen.

Both models are ranked by the same code on the candidate's test weeks, over the items that the candidate knows. The one
in service may have seen some of those weeks in its fit; that favours it, and is noted. A candidate is worse only where
the whole interval of the difference, shopper by shopper, lies below nothing: fewer shoppers decide less.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

from infra.errors import Refused

MODEL: Final = "fused"
FLOOR: Final = "decayed popularity"
METRIC: Final = "all/ndcg"  # what lists of artifacts show
JUDGED: Final = (METRIC, "new/ndcg")

Interval = tuple[float, float]


class Figures(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One metric of the candidate and of what it is compared with; the intervals are of the candidate's lead, 95 %."""

    candidate: float
    floor: float
    over_floor: Interval
    in_service: float | None = None
    over_in_service: Interval | None = None
    shoppers: int = 0


class Compared(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The figures that a release was decided on.

    Args:
        begin: of the weeks that all figures are of.
        end: of these weeks, exclusive.
        figures: by metric, those of `JUDGED`.
        groups: `METRIC` of groups of shoppers, by the group's name.
        in_service: the version in service; None: nothing was.
        in_service_saw: it was fitted on some of these weeks.
        untested: why the model in service could not be tested.
    """

    begin: datetime
    end: datetime
    figures: Mapping[str, Figures] = {}
    groups: Mapping[str, Figures] = {}
    in_service: str | None = None
    in_service_saw: bool = False
    untested: str | None = None


def judge(version: str, compared: Compared, unfair_beyond: float) -> None:
    """Let a candidate pass, or not.

    Args:
        version: the candidate.
        compared: how it does.
        unfair_beyond: the share that a group of shoppers may lose.

    Raises:
        Refused: it is worse than decayed popularity (`below_floor`) or than the model in service
            (`worse_than_in_service`), that one could not be tested (`in_service_untested`), or a group of shoppers
            loses too much (`unfair`).
    """
    weeks = f"from {compared.begin:%Y-%m-%d} to {compared.end:%Y-%m-%d}"
    for metric, one in compared.figures.items():
        if one.over_floor[1] < 0:
            raise _refused(
                f"{version} has {metric} {one.candidate:.4f}, {FLOOR} {one.floor:.4f} ({weeks})", "below_floor"
            )
    if compared.untested is not None:
        raise _refused(
            f"{compared.in_service} in service cannot be tested beside {version}: {compared.untested}",
            "in_service_untested",
        )
    saw = ", some of which it was fitted on" if compared.in_service_saw else ""
    for metric, one in compared.figures.items():
        if one.in_service is not None and one.over_in_service is not None and one.over_in_service[1] < 0:
            raise _refused(
                f"{version} has {metric} {one.candidate:.4f}, {compared.in_service} in service {one.in_service:.4f} "
                f"({weeks}{saw})",
                "worse_than_in_service",
            )
    for name, one in compared.groups.items():
        _judge_group(version, compared.in_service or FLOOR, name, one, unfair_beyond)


def _judge_group(version: str, rival: str, name: str, one: Figures, unfair_beyond: float) -> None:
    """What one group of shoppers loses against the model in service, or where there is none against the floor."""
    if one.in_service is not None and one.over_in_service is not None:
        before, lead = one.in_service, one.over_in_service
    else:
        before, lead = one.floor, one.over_floor
    lost = (before - one.candidate) / before if before > 0 else 0.0
    if lead[1] < 0 and lost > unfair_beyond:
        raise _refused(
            f"{name}: {version} has {METRIC} {one.candidate:.4f}, {rival} {before:.4f}: these {one.shoppers:,} "
            f"shoppers lose {lost:.0%}, more than the {unfair_beyond:.0%} that DAOGOU_UNFAIR_BEYOND allows",
            "unfair",
        )


def _refused(why: str, code: str) -> Refused:
    return Refused(f"{why}: not released. Give --force with a reason to release it all the same", code=code)
