"""What every client of Kafka sets, and what clients say of being turned away."""

from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import KafkaError

from infra.brokers import Bootstrap, Brokers

_QUEUE_MESSAGES: Final = 100_000
_REFUSALS: Final = frozenset(
    (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._SSL, KafkaError._FATAL)
)


class Heard:
    """The last thing that a client said about being turned away: it tells callers only that nobody answered."""

    def __init__(self) -> None:
        self.last: KafkaError | None = None

    def __call__(self, error: KafkaError) -> None:
        """Take what the client says; connections that come and go are no news."""
        if error.fatal() or error.code() in _REFUSALS:
            self.last = error

    def forget(self) -> None:
        """The client was let in after all; one that has given up stays so."""
        if self.last is not None and not self.last.fatal():
            self.last = None


def client_config(bootstrap: Bootstrap, hear: Callable[[KafkaError], None] | None = None) -> dict[str, Any]:
    """What every client of the project sets. Holds the password in clear: it goes to a client and nowhere else."""
    config: dict[str, Any] = {
        "bootstrap.servers": str(bootstrap),
        "client.id": "daogou",
        "log_level": 0,  # librdkafka writes to stderr by itself; whatever matters comes back as an error
        "socket.timeout.ms": 10_000,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1000,
        "allow.auto.create.topics": False,
    }
    if hear is not None:
        config["error_cb"] = hear
    return config if isinstance(bootstrap, str) else config | _security(bootstrap)


def producer_config(bootstrap: Bootstrap, embedded: bool, timeout_ms: int, linger_ms: int) -> dict[str, Any]:
    """Settings of a producer that loses nothing without saying so."""
    return client_config(bootstrap) | {
        "acks": "all",
        "enable.idempotence": not embedded,  # the embedded broker keeps no sequence numbers worth the name
        "linger.ms": linger_ms,
        "message.timeout.ms": timeout_ms,
        "queue.buffering.max.messages": _QUEUE_MESSAGES,
        "compression.type": "none" if embedded else "lz4",
    }


def consumer_config(bootstrap: Bootstrap, embedded: bool) -> dict[str, Any]:
    """Settings of a consumer that joins no group and stops where its position is not on the log."""
    return client_config(bootstrap) | {
        "group.id": "daogou-follower",  # asked for by the client, never joined
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        # The embedded broker lets a fetch on an idle topic wait its whole time out, and new records with it.
        "fetch.wait.max.ms": 10 if embedded else 500,
        "queued.max.messages.kbytes": 16_384,
    }


def _security(brokers: Brokers) -> dict[str, Any]:
    config: dict[str, Any] = {"security.protocol": brokers.security}
    if brokers.security.startswith("SASL"):
        config |= {
            "sasl.mechanism": brokers.mechanism,
            "sasl.username": brokers.username,
            "sasl.password": brokers.password.get_secret_value() if brokers.password else "",
        }
    if brokers.security.endswith("SSL") and brokers.ca_file is not None:
        config["ssl.ca.location"] = str(brokers.ca_file)
    return config
