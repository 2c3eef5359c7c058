"""Every client is told how the brokers are reached, and no text shows the password."""

import re
from pathlib import Path

import pytest
from confluent_kafka import KafkaError
from pydantic import SecretStr

from infra.brokers import Brokers, Security
from infra.errors import KafkaAway
from infra.kafka import Follower
from infra.kafka_admin import partition_counts
from infra.kafka_client import Heard, client_config

ROOT = Path(__file__).parents[2]
ME = Brokers(
    "127.0.0.1:1",
    security="SASL_PLAINTEXT",
    mechanism="PLAIN",
    username="me",
    password=SecretStr("hush-hush"),
)


def test_no_client_is_given_the_addresses_alone() -> None:
    """`settings.kafka` says nothing of encryption and passwords; what reaches a client is `settings.brokers`."""
    given = re.compile(r"[(,]\s*(?:self\._)?settings\.kafka\s*[,)]|=\s*(?:self\._)?settings\.kafka$", re.M)
    files = [file for floor in ("infra", "serving", "streams") for file in (ROOT / floor).rglob("*.py")]
    assert len(files) > 100
    assert [str(file) for file in files if given.search(file.read_text())] == []


def test_no_client_is_made_without_what_all_of_them_set() -> None:
    files = [file for floor in ("infra", "serving", "streams") for file in (ROOT / floor).rglob("*.py")]
    naming = [file.name for file in files if "bootstrap.servers" in file.read_text()]
    assert naming == ["kafka_client.py"]


@pytest.mark.parametrize("security", ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"])
def test_the_client_takes_every_kind_of_security(security: Security) -> None:
    sasl = security.startswith("SASL")
    brokers = Brokers(
        "127.0.0.1:1",
        security=security,
        mechanism="SCRAM-SHA-256" if sasl else "",
        username="me" if sasl else "",
        password=SecretStr("hush-hush") if sasl else None,
    )
    follower = Follower(brokers, "t", {0: 0}, embedded=False)
    assert follower.read(1, 0.0) == []
    follower.close()
    assert ("sasl.password" in client_config(brokers)) == sasl


def test_errors_name_the_addresses_and_never_the_password() -> None:
    with pytest.raises(KafkaAway, match=r"Kafka at 127\.0\.0\.1:1 does not answer") as caught:
        partition_counts(ME, within_s=0.2)
    assert "hush" not in f"{caught.value} {caught.value!r} {vars(caught.value)} {ME!r}"


def test_as_text_brokers_are_their_addresses() -> None:
    assert (str(ME), f"{ME}") == ("127.0.0.1:1", "127.0.0.1:1")


def test_what_a_client_says_of_being_turned_away_is_kept_and_lost_connections_are_not() -> None:
    heard = Heard()
    for code in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT):
        heard(KafkaError(code))
    assert heard.last is None
    for error in (KafkaError(KafkaError._AUTHENTICATION, "no"), KafkaError(KafkaError._FENCED, "gone", fatal=True)):
        heard(error)
        assert heard.last is error
    heard.forget()
    assert heard.last is error  # who has given up does not come back
    heard.last = KafkaError(KafkaError._AUTHENTICATION)
    heard.forget()
    assert heard.last is None
