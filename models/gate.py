"""The gate before a release: what a candidate has to be at least as good as, on weeks that it has not seen.

Both models are ranked by the same code on the candidate's test weeks, over the items that the candidate knows. The one
in service may have seen some of those weeks in its fit; that favours it, and is noted.
"""

from datetime import datetime
from typing import Final

import msgspec

from infra.errors import Refused

MODEL: Final = "fused"
FLOOR: Final = "decayed popularity"
METRIC: Final = "all/ndcg"
_TOLERANCE: Final = 0.01


class Compared(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The figures that a release was decided on: `METRIC` of candidate, floor and model in service.

    Args:
        begin: of the weeks that all figures are of.
        end: of these weeks, exclusive.
        fused: the candidate's.
        floor: of decayed popularity.
        in_service: the version in service; None: nothing was.
        in_service_fused: its figure on the same weeks; None: nothing to compare with, or it could not be tested.
        in_service_saw: it was fitted on some of these weeks.
        untested: why the model in service could not be tested.
    """

    begin: datetime
    end: datetime
    fused: float
    floor: float
    in_service: str | None = None
    in_service_fused: float | None = None
    in_service_saw: bool = False
    untested: str | None = None


def judge(version: str, compared: Compared) -> None:
    """Let a candidate pass, or not.

    Raises:
        Refused: it is below decayed popularity (`below_floor`), more than 1 % worse than the model in service
            (`worse_than_in_service`), or that one could not be tested (`in_service_untested`).
    """
    weeks = f"from {compared.begin:%Y-%m-%d} to {compared.end:%Y-%m-%d}"
    if compared.fused < compared.floor:
        raise _refused(
            f"{version} has {METRIC} {compared.fused:.4f}, {FLOOR} {compared.floor:.4f} ({weeks})", "below_floor"
        )
    if compared.untested is not None:
        raise _refused(
            f"{compared.in_service} in service cannot be tested beside {version}: {compared.untested}",
            "in_service_untested",
        )
    old = compared.in_service_fused
    if old is not None and compared.fused < old * (1 - _TOLERANCE):
        saw = ", some of which it was fitted on" if compared.in_service_saw else ""
        raise _refused(
            f"{version} has {METRIC} {compared.fused:.4f}, {compared.in_service} in service {old:.4f} ({weeks}{saw})",
            "worse_than_in_service",
        )


def _refused(why: str, code: str) -> Refused:
    return Refused(f"{why}: not released. Give --force with a reason to release it all the same", code=code)
