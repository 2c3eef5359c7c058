"""Who is told how much of why a list is as it is.

Whoever holds a secret key, or the token of the user whose list it is, is told everything. The id of a list is in pages
and analytics: of an anonymous list, or of nobody's, whoever knows it is told of the shop, and nothing of the person.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from serving.decisions import Decision, Used
from serving.explaining import Explanation, explain
from serving.keys import Caller
from serving.ranking import Dropped, Inputs
from serving.shopper_tokens import MayBe

_USER: Final = "u-"
# Rules that say something of the person; what they keep out is told as what no source brought.
_PERSONAL: Final = frozenset(("in_cart", "disliked", "owned", "context", "excluded"))


def explained_to(caller: Caller, may_be: MayBe, decision: Decision, item_id: str | None) -> Explanation:
    """The explanation, or as much of it as this caller may have; `may_be` as in `Call`.

    Raises:
        Refusal: it is a user's list, and the caller has not the user's token.
    """
    shopper_id = decision.shopper_id
    if shopper_id is not None and shopper_id.startswith(_USER):
        may_be(shopper_id.removeprefix(_USER))
        return explain(decision, item_id)
    if caller != "publishable":
        return explain(decision, item_id)
    told = explain(_without_person(decision), item_id)
    if told.item is None:
        return told
    # What a score was multiplied with tells what was shown before.
    return msgspec.structs.replace(told, item=msgspec.structs.replace(told.item, sources=[]))


def _without_person(decision: Decision) -> Decision:
    request = msgspec.structs.replace(
        decision.request,
        user_id=None,
        anonymous_id=None,
        session_id=None,
        item_ids=(),
        exclude_item_ids=(),
        min_token=None,
    )
    return msgspec.structs.replace(
        decision,
        shopper_id=None,
        request=request,
        inputs=_of_the_shop(decision.inputs),
        # An item is told by its reasons' codes; what each rests on is what the person looked at.
        shown=[msgspec.structs.replace(one, reasons=[(code, {}) for code, _ in one.reasons]) for one in decision.shown],
        used=Used(),
        freshness=msgspec.structs.replace(decision.freshness, applied_through=None),
    )


def _of_the_shop(inputs: Inputs) -> Inputs:
    return msgspec.structs.replace(
        inputs,
        lists=[msgspec.structs.replace(one, dropped=_told(one.dropped), dropped_more=0) for one in inputs.lists],
        refused_pins=_told(inputs.refused_pins),
    )


def _told(dropped: Sequence[Dropped]) -> list[Dropped]:
    return [one for one in dropped if one.why not in _PERSONAL]
