"""How Kafka's brokers are reached: addresses, encryption, a user's name and password."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

Security = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


@dataclass(frozen=True, slots=True)
class Brokers:
    """Where the brokers are and how a client shows who it is. As text it is the addresses alone."""

    servers: str
    security: Security = "PLAINTEXT"
    mechanism: Mechanism = ""
    username: str = ""
    password: SecretStr | None = None
    ca_file: Path | None = None

    def __str__(self) -> str:
        return self.servers


# Addresses alone are brokers that want neither encryption nor a password.
Bootstrap = str | Brokers
