"""The promised defaults, and what a wrong setting says."""

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from infra.errors import SettingWrong
from infra.settings import Settings, environment, read_settings

DEFAULTS = {
    "kafka": "",
    "redis": SecretStr(""),
    "data_dir": Path(".daogou"),
    "embedded_log": "",
    "tenant": "default",
    "partitions": 0,
    "replication": 0,
    "batch_events": 500,
    "batch_ms": 20,
    "lateness_h": 24,
    "shelf_size": 200,
    "cart_abandoned_s": 3600,
    "outbox_max": 10_000,
    "bad_share_max": 0.5,
    "bad_share_window": 10_000,
    "group": "daogou",
    "host": "127.0.0.1",
    "port": 8000,
    "redis_timeout_ms": 200,
    "publishable_keys": (),
    "secret_keys": (),
    "repeat_scenarios": (),
    "text_encoder": "",
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
        ("PORT", "eighty", "DAOGOU_PORT = 'eighty': .* Allowed: port of the API"),
        ("PORT", "70000", "DAOGOU_PORT = '70000': .*65535"),
        ("TENANT", "My Shop", "DAOGOU_TENANT = 'My Shop': .*a-z0-9"),
        ("LOG_LEVEL", "LOUD", "DAOGOU_LOG_LEVEL = 'LOUD': .*WARNING"),
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
