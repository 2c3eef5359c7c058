"""What Faust shows the brokers."""

import ssl
from pathlib import Path

import faust
import pytest
from pydantic import SecretStr

from infra.brokers import Brokers
from streams.worker.app import create
from streams.worker.transport import Reading


async def _nothing(*_: object) -> dict[tuple[str, int], int]:
    return {}


async def _none() -> None: ...


def credentials(brokers: Brokers, folder: Path) -> object:
    app = create(brokers, "g", folder, Reading(_nothing, _none, 10, {}), 500)
    assert [str(url) for url in app.conf.broker] == ["kafka://k1:1", "kafka://k2:2"]
    return app.conf.broker_credentials


def test_nothing_where_nothing_is_wanted(tmp_path: Path) -> None:
    assert credentials(Brokers("k1:1, k2:2"), tmp_path) is None


def test_encryption_alone(tmp_path: Path) -> None:
    shown = credentials(Brokers("k1:1,k2:2", security="SSL"), tmp_path)
    assert isinstance(shown, faust.SSLCredentials)
    assert shown.context.check_hostname
    assert shown.context.verify_mode == ssl.CERT_REQUIRED


@pytest.mark.parametrize("security", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_a_user_with_a_password(security: str, tmp_path: Path) -> None:
    brokers = Brokers(
        "k1:1,k2:2",
        security=security,
        mechanism="SCRAM-SHA-512",
        username="me",
        password=SecretStr("hush-hush"),
    )
    shown = credentials(brokers, tmp_path)
    assert isinstance(shown, faust.SASLCredentials)
    assert (shown.protocol.value, shown.mechanism.value) == (security, "SCRAM-SHA-512")
    assert (shown.username, shown.password) == ("me", "hush-hush")
    assert (shown.ssl_context is not None) == (security == "SASL_SSL")
    assert "hush" not in repr(shown)
