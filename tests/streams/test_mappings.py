"""Mappings that read one event a line, and the law that every mapping obeys: its lines add up."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as tries
from hypothesis import strategies as st

from features.catalog import Price
from infra.errors import BadInput, NotFound, Undecodable
from streams.mappings.jsonlines import JSONLINES
from streams.mappings.online_retail import ONLINE_RETAIL
from streams.mappings.outcomes import Mapping
from streams.mappings.rees46 import REES46
from streams.mappings.table import MAPPINGS, files_of, named
from streams.mappings.taobao import EARLIEST_S, LATEST_S, TAOBAO
from tests.streams.files import (
    REES46_HEADER,
    RETAIL_HEADER,
    events,
    items,
    lines_of,
    origin_of,
    outcomes,
    refused,
    written,
)

HEADERS = {ONLINE_RETAIL.name: RETAIL_HEADER, REES46.name: REES46_HEADER}


@pytest.mark.parametrize("mapping", [TAOBAO, REES46, ONLINE_RETAIL, JSONLINES], ids=lambda m: m.name)
@tries(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=200) | st.text('01,.:-"{}[] CTUpv\r\n', max_size=200).map(str.encode))
def test_the_lines_of_any_file_add_up(mapping: Mapping, raw: bytes, tmp_path: Path) -> None:
    assume(raw[:2] != b"\x1f\x8b")  # gzip
    path = tmp_path / "any"
    header = f"{HEADERS[mapping.name]}\n".encode() if mapping.name in HEADERS else b""
    path.write_bytes(header + raw)
    origin = origin_of(mapping, path)
    found = list(mapping.outcomes(origin))
    assert lines_of(found) == mapping.count(origin)


def test_a_cut_gzip_file_is_refused_as_a_whole(tmp_path: Path) -> None:
    path = written(tmp_path, "cut.gz", *(f"1,22,{n},pv,{EARLIEST_S}" for n in range(999)), packed=True)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(Undecodable, match="cut or altered"):
        list(TAOBAO.outcomes(origin_of(TAOBAO, path)))


def test_taobao_events_and_items(tmp_path: Path) -> None:
    at = EARLIEST_S + 7200
    path = written(
        tmp_path,
        "taobao.csv.gz",
        f"1,22,333,pv,{at}",
        f"1,22,333,fav,{at + 1}",
        f"1,22,333,cart,{at + 2}",
        f"1,22,333,buy,{at + 3}",
        packed=True,
    )
    found = outcomes(TAOBAO, path)
    took = events(found)
    assert [e.event_name for e in took] == ["view_item", "add_to_wishlist", "add_to_cart", "purchase"]
    assert took[0].occurred_at == datetime(2017, 11, 23, 18, tzinfo=UTC)
    assert (took[0].user_id, took[0].items[0].item_id, took[0].items[0].category) == ("1", "22", "333")
    assert took[0].load_id == "load-0"
    assert took[0].source == "load-taobao"
    assert len({e.event_id for e in took}) == 4
    assert list(items(found)) == ["22"]


def test_taobao_refuses_by_name(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "taobao.csv",
        f"1,22,333,pv,{LATEST_S - 1}",
        f"1,22,333,pv,{LATEST_S}",
        f"1,22,333,pv,{EARLIEST_S - 1}",
        "1,22,333,pv,99999999999999999999",
        f"1,22,333,hug,{EARLIEST_S}",
        f"one,22,333,pv,{EARLIEST_S}",
        "1,22,333,pv",
    )
    found = outcomes(TAOBAO, path)
    assert len(events(found)) == 1
    assert refused(found) == {
        "time_out_of_range": 3,
        "unknown_behaviour": 1,
        "not_a_number": 1,
        "cut": 1,
    }


def test_the_same_line_has_the_same_id_in_every_load(tmp_path: Path) -> None:
    line = f"1,22,333,pv,{EARLIEST_S}"
    first = events(outcomes(TAOBAO, written(tmp_path, "a", line)))
    second = events(outcomes(TAOBAO, written(tmp_path, "b", line, f"2,22,333,pv,{EARLIEST_S}")))
    assert first[0] == second[0]
    assert first[0].event_id != second[1].event_id


def test_rees46_events_and_items(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "rees46.csv",
        REES46_HEADER,
        "2019-10-01 00:00:00 UTC,view,7,99,furniture.living_room.sofa,ikea,543.10,5,s-1",
        "2019-10-01 00:01:00 UTC,cart,7,99,,,,5,s-1",
        "2019-10-01 00:02:00 UTC,remove_from_cart,7,99,,,500.00,5,s-1",
        "2019-10-01 00:03:00 UTC,purchase,8,99,,,0,5,",
    )
    found = outcomes(REES46, path)
    took = events(found)
    assert [e.event_name for e in took] == ["view_item", "add_to_cart", "remove_from_cart", "purchase"]
    assert took[0].items[0].price == Decimal("543.10")
    assert took[0].items[0].category == "sofa"
    assert took[0].session_id == "s-1"
    assert took[1].items[0].price is None
    assert took[3].session_id is None
    sofa = items(found)["7"]
    assert sofa.content is not None
    assert sofa.content.name == "Ikea Sofa 7"
    assert sofa.content.categories == ("furniture", "living room", "sofa")
    assert sofa.price == Price(price=Decimal("500.00"), currency="USD")
    assert items(found)["8"].price is None


def test_rees46_refuses_by_name(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "rees46.csv",
        REES46_HEADER,
        "yesterday,view,7,99,,,1,5,s",
        "2019-10-01 00:00:00 UTC,sniff,7,99,,,1,5,s",
        "2019-10-01 00:00:00 UTC,view,,99,,,1,5,s",
        "2019-10-01 00:00:00 UTC,view,7,99,,,dear,5,s",
        "2019-10-01 00:00:00 UTC,view,7,99,,,NaN,5,s",
        "2019-10-01 00:00:00 UTC,view,7",
    )
    assert refused(outcomes(REES46, path)) == {
        "time_out_of_range": 1,
        "unknown_behaviour": 1,
        "no_id": 1,
        "bad_price": 2,
        "cut": 1,
    }


def test_another_header_is_refused_as_a_whole(tmp_path: Path) -> None:
    path = written(tmp_path, "rees46.csv", "a,b,c")
    with pytest.raises(BadInput, match="the first line is not event_time"):
        list(REES46.outcomes(origin_of(REES46, path)))


def test_json_lines_by_the_rules_of_the_door(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "history.jsonl",
        '{"event_name": "view_item", "occurred_at": "2020-01-01T00:00:00Z", "user_id": "u", '
        '"items": [{"item_id": "i"}], "load_id": "forged", "tenant": "other"}',
        "",
        "[1]",
        "{",
        '{"event_name": "hug", "occurred_at": "2020-01-01T00:00:00Z", "user_id": "u"}',
        '{"event_name": "page_view", "occurred_at": "2020-01-01T00:00:00", "user_id": "u"}',
        '{"event_name": "page_view", "occurred_at": "2020-01-01T00:00:00Z", "user_id": "u", '
        '"event_id": "e-1", "source": "shop"}',
    )
    found = outcomes(JSONLINES, path)
    view, page = events(found)
    assert (view.load_id, view.tenant, view.source) == ("load-0", "default", "load-jsonlines")
    assert (page.event_id, page.source) == ("e-1", "shop")
    assert refused(found) == {
        "empty_line": 1,
        "wrong_type": 1,
        "not_json": 1,
        "unknown_event": 1,
        "time_without_offset": 1,
    }


def test_a_senders_clock_is_corrected_only_where_the_receipt_is_known(tmp_path: Path) -> None:
    told = (
        '{"event_name": "page_view", "user_id": "u", "occurred_at": "2020-01-01T00:00:00Z", '
        '"sent_at": "2020-01-01T00:00:10Z"%s}'
    )
    path = written(tmp_path, "a.jsonl", told % "", told % ', "received_at": "2020-01-02T00:00:10Z"')
    without, with_receipt = events(outcomes(JSONLINES, path))
    assert without.occurred_at == datetime(2020, 1, 1, tzinfo=UTC)
    assert with_receipt.occurred_at == datetime(2020, 1, 2, tzinfo=UTC)
    assert without.sent_at is with_receipt.sent_at is None


def test_the_table_of_mappings() -> None:
    assert set(MAPPINGS) == {"completejourney", "online-retail", "taobao", "rees46", "jsonlines"}
    assert named("Online_Retail") is ONLINE_RETAIL
    with pytest.raises(BadInput, match="allowed: completejourney"):
        named("amazon")


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no file"):
        files_of(str(tmp_path / "nothing.csv"), TAOBAO)
    with pytest.raises(BadInput, match="reads the source 'completejourney' alone"):
        files_of("other.csv", named("completejourney"))
