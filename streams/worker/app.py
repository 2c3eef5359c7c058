"""The Faust app: it joins the consumer group, reads both logs, and puts what comes into the inboxes."""

import ssl
from pathlib import Path
from typing import Any, Final

import faust
from mode.supervisors import CrashingSupervisor

from infra.brokers import Brokers
from streams.inbox import Inbox
from streams.worker.transport import ChunkSchema, Consumer, Reading, Transport

_SESSION_S: Final = 6.0
_HEARTBEAT_S: Final = 1.5
_COMMIT_S: Final = 1.0


def create(brokers: Brokers, group: str, folder: Path, reading: Reading, fetch_records: int) -> faust.App:
    """An app with one agent for each inbox's topic; nothing of it runs yet."""
    app = faust.App(
        group,
        broker=[f"kafka://{server.strip()}" for server in brokers.servers.split(",")],
        broker_credentials=_credentials(brokers),
        datadir=folder,
        autodiscover=False,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=_SESSION_S,
        broker_heartbeat_interval=_HEARTBEAT_S,
        broker_commit_interval=_COMMIT_S,
        broker_max_poll_records=fetch_records,
        stream_buffer_maxsize=65_536,
        stream_wait_empty=False,
        producer_linger=0.02,
    )
    app.transport = Transport(app.conf.broker_consumer, app)
    app.transport.reading = reading
    for topic, inbox in reading.inboxes.items():
        agent = app.agent(app.topic(topic, schema=ChunkSchema()), supervisor_strategy=CrashingSupervisor)
        agent(_putting(inbox, topic))
    return app


def note_applied(app: faust.App, topic: str, partition: int, offset: int) -> None:
    """Say how far a partition is applied, for the group's commits."""
    consumer = app.consumer
    assert isinstance(consumer, Consumer), "create() sets the transport"
    consumer.note_applied(topic, partition, offset)


def _credentials(brokers: Brokers) -> Any:
    """What Faust's client shows the brokers; None: nothing."""
    encrypted = brokers.security.endswith("SSL")
    context = ssl.create_default_context(cafile=brokers.ca_file) if encrypted else None
    if not brokers.security.startswith("SASL"):
        return faust.SSLCredentials(context) if encrypted else None
    password = brokers.password.get_secret_value() if brokers.password else ""
    return faust.SASLCredentials(
        username=brokers.username, password=password, mechanism=brokers.mechanism, ssl_context=context
    )


def _putting(inbox: Inbox, topic: str) -> Any:
    async def put(stream: Any) -> None:
        # Never acknowledged here: the fence in Redis says what was applied, in the same step that applies it.
        async for chunk in stream.noack():
            inbox.put(chunk)

    put.__name__ = put.__qualname__ = f"read_{topic.replace('.', '_').replace('-', '_')}"
    return put
