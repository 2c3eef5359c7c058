"""The promised defaults, and what a wrong setting says."""

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from infra.errors import SettingWrong
from infra.kafka_client import client_config
from infra.settings import Settings, environment, read_settings

DEFAULTS = {
    "kafka": "",
    "kafka_security": "PLAINTEXT",
    "kafka_sasl_mechanism": "",
    "kafka_username": "",
    "kafka_password": SecretStr(""),
    "kafka_ca_file": None,
    "redis": SecretStr(""),
    "data_dir": Path(".daogou"),
    "archive": "",
    "embedded_log": "",
    "tenant": "default",
    "partitions": 0,
    "replication": 0,
    "batch_events": 500,
    "batch_ms": 20,
    "lateness_h": 24,
    "shelf_size": 200,
    "cart_abandoned_s": 3600,
    "low_stock": 5,
    "statistics_s": 10,
    "outbox_max": 10_000,
    "bad_share_max": 0.5,
    "bad_share_window": 10_000,
    "stuck_s": 120,
    "group": "daogou",
    "host": "127.0.0.1",
    "port": 8000,
    "redis_timeout_ms": 40,
    "requests_max": 512,
    "working_max": 128,
    "lag_max_ms": 100,
    "connections_max": 0,
    "request_s": 10,
    "idle_s": 75,
    "drain_s": 1,
    "process_port": 0,
    "publishable_keys": (),
    "secret_keys": (),
    "operator_keys": (),
    "key_requests_per_s": 0,
    "shopper_token_secrets": (),
    "allowed_origins": (),
    "repeat_scenarios": (),
    "unfair_beyond": 0.1,
    "text_encoder": "",
    "text_encoder_idle_s": 0,
    "llm_url": "",
    "llm_model": "",
    "llm_key": SecretStr(""),
    "llm_timeout_s": 60,
    "llm_concurrency": 4,
    "llm_requests_min": 0,
    "llm_tokens_min": 0,
    "llm_price_in": 0,
    "llm_price_out": 0,
    "log_level": "INFO",
    "log_format": "text",
    "metrics_port": 0,
    "clock_shift_file": None,
}


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"DAOGOU_{name.upper()}", raising=False)


def test_the_defaults_are_those_promised() -> None:
    assert dict(Settings()) == DEFAULTS


def test_every_setting_says_what_it_means() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().__setattr__("port", 1)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "eighty", "DAOGOU_PORT = 'eighty': no whole number. Allowed: 0 to 65535 .port of the API"),
        ("PORT", "70000", "DAOGOU_PORT = '70000': .*65535"),
        ("TENANT", "My Shop", "DAOGOU_TENANT = 'My Shop': .*a-z0-9"),
        ("LOG_LEVEL", "LOUD", "DAOGOU_LOG_LEVEL = 'LOUD': .*WARNING"),
        ("KAFKA", "nonsense", r"DAOGOU_KAFKA = 'nonsense': .*'nonsense' is not host:port.* Allowed: .*`host:port"),
        ("KAFKA", "host:port:x", "DAOGOU_KAFKA = 'host:port:x': 'host:port:x' is not host:port"),
        ("KAFKA", "k1:9092,k2", "DAOGOU_KAFKA = 'k1:9092,k2': .*'k2' is not host:port"),
        ("KAFKA", "k1:9092,", "DAOGOU_KAFKA = 'k1:9092,': .*'' is not host:port"),
        ("KAFKA", "k:0", "DAOGOU_KAFKA = 'k:0'"),
        ("KAFKA", "k:65536", "DAOGOU_KAFKA = 'k:65536'"),
        ("KAFKA", "kafka://k:9092", "DAOGOU_KAFKA = 'kafka://k:9092'"),
        ("KAFKA_SECURITY", "TLS", "DAOGOU_KAFKA_SECURITY = 'TLS': .*SASL_SSL"),
        ("KAFKA_SECURITY", "SSL", "DAOGOU_KAFKA_SECURITY = 'SSL': .*set DAOGOU_KAFKA"),
        ("KAFKA_USERNAME", "me", "DAOGOU_KAFKA_USERNAME = 'me': .*PLAINTEXT, which has no use for it"),
        ("KAFKA_CA_FILE", "/nowhere/ca.pem", "DAOGOU_KAFKA_CA_FILE = '/nowhere/ca.pem': .*file"),
        ("ALLOWED_ORIGINS", '["*"]', r"DAOGOU_ALLOWED_ORIGINS = '\*': .*not an origin"),
        ("ALLOWED_ORIGINS", '["https://shop.example/"]', "DAOGOU_ALLOWED_ORIGINS = 'https://shop.example/'"),
        ("ALLOWED_ORIGINS", '["null"]', "DAOGOU_ALLOWED_ORIGINS = 'null'"),
        ("ALLOWED_ORIGINS", '["https://Shop.example"]', "DAOGOU_ALLOWED_ORIGINS = 'https://Shop.example'"),
        ("PUBLISHABLE_KEYS", "k1,k2", "DAOGOU_PUBLISHABLE_KEYS = .*JSON list"),
    ],
)
def test_a_wrong_setting_names_itself_its_value_and_what_is_allowed(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"DAOGOU_{name}", value)
    with pytest.raises(SettingWrong, match=said) as caught:
        read_settings()
    assert caught.value.path == name.lower()


def test_a_wrong_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAOGOU_SECRET_KEYS", '["right", {"hidden": "no"}]')
    with pytest.raises(SettingWrong, match="DAOGOU_SECRET_KEYS") as caught:
        read_settings()
    assert "hidden" not in caught.value.message


def test_what_is_given_wins_and_none_gives_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAOGOU_PORT", "9000")
    assert read_settings(port=9001, data_dir=None).port == 9001
    assert read_settings(port=None).port == 9000


def test_a_child_reads_the_settings_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = Settings(
        redis=SecretStr("redis://:word@host:1/2"),
        secret_keys=(SecretStr('a"b'), SecretStr("ü")),
        repeat_scenarios=("home",),
        data_dir=Path("/tmp/x y"),
        port=1,
    )
    for name, value in environment(parent).items():
        monkeypatch.setenv(name, value)
    assert read_settings() == parent


def test_partitions_are_fewer_on_the_embedded_broker() -> None:
    assert Settings().partition_count == 8
    assert Settings(kafka="k:9092").partition_count == 64
    assert Settings(kafka="127.0.0.1:1", embedded_log="e").partition_count == 8
    assert Settings(kafka="k:9092", partitions=12).partition_count == 12


@pytest.mark.parametrize("servers", ["", "k:9092", "k1.a-b.example:9092, k2:1", "127.0.0.1:65535", "[::1]:9092"])
def test_addresses_of_brokers(servers: str) -> None:
    assert Settings(kafka=servers).brokers.servers == servers


def test_a_user_of_the_brokers_is_whole_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {
        "KAFKA": "k:9092",
        "KAFKA_SECURITY": "SASL_PLAINTEXT",
        "KAFKA_SASL_MECHANISM": "PLAIN",
        "KAFKA_USERNAME": "me",
        "KAFKA_PASSWORD": "hush-hush",
    }
    for name, value in whole.items():
        monkeypatch.setenv(f"DAOGOU_{name}", value)
    assert "hush" not in repr(read_settings()) + repr(read_settings().brokers) + str(read_settings().brokers)
    for missing in ("SASL_MECHANISM", "USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"DAOGOU_KAFKA_{missing}")
        with pytest.raises(SettingWrong, match=f"DAOGOU_KAFKA_{missing} = .*SASL_PLAINTEXT, which needs it") as caught:
            read_settings()
        assert "hush" not in str(caught.value)
        monkeypatch.setenv(f"DAOGOU_KAFKA_{missing}", whole[f"KAFKA_{missing}"])


def test_the_brokers_of_the_settings(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text("")
    secure = Settings(
        kafka="k:9092",
        kafka_security="SASL_SSL",
        kafka_sasl_mechanism="SCRAM-SHA-512",
        kafka_username="me",
        kafka_password=SecretStr("hush-hush"),
        kafka_ca_file=ca_file,
    )
    assert client_config(secure.brokers).items() >= {
        ("bootstrap.servers", "k:9092"),
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "SCRAM-SHA-512"),
        ("sasl.username", "me"),
        ("sasl.password", "hush-hush"),
        ("ssl.ca.location", str(ca_file)),
    }
    plain = client_config(Settings(kafka="k:9092").brokers)
    assert plain["security.protocol"] == "PLAINTEXT"
    assert not [name for name in plain if name.startswith(("sasl.", "ssl."))]
    embedded = secure.model_copy(update={"embedded_log": "e"})
    assert client_config(embedded.brokers)["security.protocol"] == "PLAINTEXT"


def test_a_child_reads_how_the_brokers_are_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text("")
    parent = Settings(kafka="k:1", kafka_security="SSL", kafka_ca_file=ca_file, allowed_origins=("https://a.example",))
    for name, value in environment(parent).items():
        monkeypatch.setenv(name, value)
    assert read_settings() == parent
