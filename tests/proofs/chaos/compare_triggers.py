"""Messages and hand-overs on the log against the truth: each that must be there, with one content however often."""

import json
from datetime import datetime
from typing import Any, Final

import msgspec

from infra.keys import ShardKeys
from tests.proofs.chaos.found import Found
from tests.proofs.chaos.truth import EVENTS, TRIGGERS, Record, read_log
from tests.proofs.chaos.truth_fold import cart_due, person
from tests.proofs.chaos.truth_triggers import Message, message, message_id

_OURS: Final = (b'"event_name":"shopper_absorbed"', b'"event_name":"items_changed"')


def triggers(found: Found) -> None:
    """Every message that had to go out did, with the same bytes each time, and no other."""
    abandoned_ms = found.settings.cart_abandoned_s * 1000
    wanted: dict[str, Message] = {}
    due_in_run = 0
    for (_, tenant, shopper), admission in found.truth.shoppers.items():
        who = person(admission.admitted)
        due = cart_due(who, abandoned_ms)
        if due is None or due > found.ended_ms:
            continue
        due_in_run += 1
        said = message(shopper, who, abandoned_ms, found.began_ms)
        if said is not None:
            wanted[message_id(tenant, shopper, due)] = said
    there: dict[str, Message] = {}
    repeated = 0
    first: dict[str, Record] = {}
    for record in read_log(found.settings.kafka, TRIGGERS):
        told: dict[str, Any] = json.loads(record.value or b"")
        name = told["trigger_id"]
        before = first.setdefault(name, record)
        if (before.key, before.value, before.partition) != (record.key, record.value, record.partition):
            found.wrong.append(f"the message {name} was written twice with different bytes")
        repeated += before is not record
        there[name] = Message(told["shopper_id"], _ms(told["eligible_at"]), _items(told), told["consent_basis"])
    found.said |= {"timers_fired": due_in_run, "triggers": len(wanted), "triggers_repeated": repeated}
    found.expect_equal("triggers", wanted, there)


def hand_overs(found: Found) -> None:
    """Each history and straggler is on the log of its user, with the same bytes each time; the links are readable."""
    there: dict[str, str] = {}
    first: dict[str, Record] = {}
    repeated = 0
    for record in read_log(found.settings.kafka, EVENTS):
        if record.value is None or not any(name in record.value for name in _OURS):
            continue
        told = json.loads(record.value)
        name = f"{record.partition} {told['event_id']}"
        before = first.setdefault(name, record)
        if (before.key, before.value, before.partition) != (record.key, record.value, record.partition):
            found.wrong.append(f"the event {name} was written twice with different bytes")
        if told["event_name"] == "shopper_absorbed":
            repeated += before is not record
            there[told["event_id"]] = told["user_id"]
    wanted = {name: handed.user for name, handed in found.truth.handed.items()}
    found.said |= {"handed_over": len(wanted), "handed_over_repeated": repeated}
    found.expect_equal("handed_over", wanted, there)
    links, linked = {}, {}
    for who, admission in found.truth.shoppers.items():
        partition, tenant, shopper = who
        raw = found.client.get(ShardKeys(partition).link(tenant, shopper)) if shopper.startswith("a-") else None
        if raw:
            linked[who] = msgspec.msgpack.decode(raw)[2]
        if admission.linked_to is not None:
            links[who] = admission.linked_to
    found.said["links_held"] = len(links)
    found.expect_equal("links_held", links, linked)


def _items(told: dict[str, Any]) -> tuple[tuple[str, str, str], ...]:
    return tuple((one["item_id"], one["name"], one["price"]) for one in told["items"])


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)
