"""`daogou dead-letters` as a person meets it, on a broker with a few letters."""

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from features.events import encode
from tests.streams.letters.made import ANN, HOME, box_of, on_log, outgoing_letter, sender
from tests.streams.shop import LOG, PARTITIONS, event
from tests.streams.test_cli import daogou

Run = Callable[..., "subprocess.CompletedProcess[str]"]
MANY = [event(f"shopper-{n}", "page_view") for n in range(101)]


@pytest.fixture
def run(broker: str, tmp_path: Path) -> Run:
    """The command on a broker with a letter of Ann's and one of poison."""
    with sender(broker) as send:
        poison = replace(outgoing_letter(8, ANN, "not_json"), value=b"\x1b[2J\xff poison")
        send([outgoing_letter(7, ANN), poison])

    def call(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return daogou(
            "dead-letters",
            *arguments,
            DAOGOU_KAFKA=broker,
            DAOGOU_EMBEDDED_LOG=LOG,
            DAOGOU_PARTITIONS=str(PARTITIONS),
            DAOGOU_DATA_DIR=str(tmp_path),
        )

    return call


def test_list_counts_by_reason_and_names_positions(run: Run) -> None:
    told = run("list")
    assert told.returncode == 0
    assert re.search(r"^not_json +1 +0 +0 +0$", told.stdout, re.M)
    assert re.search(r"^all +2 letters$", told.stdout, re.M)
    assert re.search(rf"shop\.events\.v1/{HOME}/7 +default", told.stdout)
    assert re.search(r"^written +reason +from +tenant +bytes +state +id$", told.stdout, re.M)
    assert told.stderr.count("looked through") == 1
    assert f"{LOG}/{HOME}/8" in told.stdout
    only = run("list", "--reason", "not_json", "--newest", "0")
    assert re.search(r"^all +1 letters$", only.stdout, re.M)


def test_show_escapes_the_bytes_and_says_what_to_do(run: Run) -> None:
    told = run("show", f"{LOG}/{HOME}/8")
    assert told.returncode == 0
    assert "\x1b" not in told.stdout
    assert "\\x1b[2J\\xff poison" in told.stdout
    assert "to do      fix the producer" in told.stdout
    assert run("show", f"shop.events.v1/{HOME}/8").stdout == told.stdout
    missing = run("show", "no-log/0/0")
    assert missing.returncode == 2
    assert "there is no dead letter 'no-log/0/0'" in missing.stderr


def test_requeue_and_discard_are_told_and_kept(run: Run, broker: str) -> None:
    dry = run("requeue", "--reason", "unknown_version", "--dry-run")
    assert "would requeue 1" in dry.stdout
    assert on_log(broker) == []
    assert "1 requeued" in run("requeue", "--reason", "unknown_version", "--by", "olga").stdout
    [record] = on_log(broker)
    assert (record.value, record.partition) == (encode(ANN), HOME)
    assert "requeued by olga at" in run("requeue", f"{LOG}/{HOME}/7").stdout
    assert "1 discarded" in run("discard", f"{LOG}/{HOME}/8", "--by", "paul").stdout
    assert "name it to requeue it all the same" in run("requeue", "--reason", "not_json").stdout
    assert len(on_log(broker)) == 1
    listed = run("list").stdout
    assert re.search(r"^not_json +0 +0 +0 +1$", listed, re.M)
    assert re.search(r"^unknown_version +0 +0 +1 +0$", listed, re.M)
    assert "state      discarded by paul" in run("show", f"{LOG}/{HOME}/8").stdout
    assert {mark.by for mark in box_of(broker).marks().values()} == {"olga", "paul"}


def test_what_may_come_too_late_is_said_before_and_in_the_report(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    told = run("requeue", "--reason", "unknown_version", "--dry-run", "--json", str(file))
    assert "1 of them happened more than 24 h ago: where their shopper came since, they are late" in told.stdout
    report = json.loads(file.read_bytes())
    assert (report["chosen"], report["older_than_lateness"], report["requeued"]) == (1, 1, 0)
    run("requeue", "--reason", "unknown_version", "--json", str(file))
    assert json.loads(file.read_bytes())["requeued"] == 1
    assert re.search(
        r"state +requeued by .+, older than the lateness: late, where", run("show", f"{LOG}/{HOME}/7").stdout
    )
    assert "happened more than" not in run("discard", "--reason", "not_json").stdout


def test_what_is_asked_for_and_is_not_there_is_refused(run: Run, broker: str) -> None:
    for what in ("requeue", "discard"):
        bogus = run(what, "--reason", "bogus")
        assert bogus.returncode == 2
        assert "--reason bogus: no letter has it; letters here have not_json, unknown_version; usual " in bogus.stderr
        none = run(what, "NOSUCHID")
        assert none.returncode == 2
        assert "no such letter: NOSUCHID" in none.stderr
    assert on_log(broker) == []
    assert run("requeue", "--reason", "wrong_partition").returncode == 0  # usual, though there is none


def test_what_no_version_can_read_goes_back_only_by_name(run: Run, broker: str) -> None:
    left = run("requeue", "--reason", "not_json")
    assert "no version can read it: discard it, or name it to requeue it all the same" in left.stdout
    assert on_log(broker) == []
    named = run("requeue", f"shop.events.v1/{HOME}/8")
    assert "1 requeued" in named.stdout
    assert named.stderr.count("looked through") == 1
    assert len(on_log(broker)) == 1


def test_many_are_not_requeued_unasked(run: Run, broker: str) -> None:
    with sender(broker) as send:
        send([outgoing_letter(n, one, "unknown_event") for n, one in enumerate(MANY)])
    told = run("requeue", "--reason", "unknown_event")
    assert told.returncode == 1
    assert "101 letters are many to requeue" in told.stderr
    assert on_log(broker) == []
    assert "101 requeued" in run("requeue", "--reason", "unknown_event", "--yes").stdout
    assert len(on_log(broker)) == 101


def test_what_is_asked_wrongly_is_one_sentence(run: Run) -> None:
    for arguments, said in (
        (("requeue",), "say which letters to requeue"),
        (("list", "--from", "yesterday"), "is not a time"),
        (("list", "--partition", "99"), "has the partitions 0 to 7, not 99"),
    ):
        told = run(*arguments)
        assert told.returncode == 2
        assert said in told.stderr
        assert "Traceback" not in told.stderr


def test_without_a_broker_it_says_so(tmp_path: Path) -> None:
    told = daogou("dead-letters", "list", DAOGOU_DATA_DIR=str(tmp_path))
    assert told.returncode == 1
    assert "no broker runs" in told.stderr
