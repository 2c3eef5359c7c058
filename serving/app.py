"""The API process, wired: `create` is the factory that uvicorn is given, and the only place here that reads
settings.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Final

from redis.asyncio import Redis

from features.catalog_store import CatalogStore
from infra import kafka_admin, topics
from infra.clock import clock_from
from infra.errors import DaogouError, SettingWrong
from infra.kafka import Producer
from infra.kafka_posting import Poster
from infra.logs import configure, logger
from infra.metrics import OF_API, Metrics
from infra.ports import is_loopback
from infra.ready import tell_ready
from infra.redis import address, connect, connect_sync
from infra.redis_lane import RedisLane
from infra.settings import Settings, read_settings
from models.artifact import Artifact
from models.release import released
from serving import expressions, item_routes, list_routes, openapi, pages, segment_routes, settings_routes
from serving.admission import Admission
from serving.archived import archived
from serving.best import BestOfCategories
from serving.catalogue import Catalogue
from serving.catalogue_follower import CatalogueFollower
from serving.cors import Origins
from serving.decision_log import DecisionLog, count_lost
from serving.events import Collector, EventLog
from serving.experiments import experiment_kind
from serving.health import Health
from serving.idempotency import Once
from serving.items import CatalogueLog, ItemWriter
from serving.key_kinds import key_kind
from serving.keys import Keys
from serving.looking import Looking, Place
from serving.model import ModelInService
from serving.operations import Door
from serving.policies import Policies
from serving.recommendations import Recommender, Stock
from serving.recording import Recorder
from serving.routes import Services, operations
from serving.routing import Routes
from serving.scenarios import SCENARIOS
from serving.setting_kinds import scenario_kind
from serving.settings_log import ShopSettings
from serving.shopper_reader import ShopperReader
from serving.shopper_tokens import ShopperTokens
from serving.shown import ShownLately
from serving.statistics_reader import ItemKnowledge, StatisticsReader
from serving.tokens import Acknowledged
from serving.topic import Topic, open_topic
from serving.triggers import TriggerLog
from serving.unread import Unread
from serving.waiting import Waiting

_START_TIMEOUT_MS: Final = 5000
_KAFKA_ASKED_S: Final = 2.0
_log = logger(__name__)


def create() -> "Api":
    """The application, from the environment.

    Raises:
        SettingWrong: names the setting.
        RedisAway, KafkaAway: names the address tried.
    """
    settings = read_settings()
    configure(settings.log_level, settings.log_format)
    connect_sync(settings.redis, _START_TIMEOUT_MS).close()
    kafka_admin.check_topics(settings.brokers, settings.partition_count, _START_TIMEOUT_MS / 1000)
    return Api(settings, tell_ready)


class Api:
    """The ASGI application: it connects in its lifespan and is ready when `when_ready` is called."""

    def __init__(self, settings: Settings, when_ready: Callable[[], None] = lambda: None) -> None:
        """Takes the settings; nothing is reached yet.

        Raises:
            SettingWrong: it would listen beyond loopback without keys.
        """
        self._settings = settings
        self._when_ready = when_ready
        self._keys = Keys(
            settings.publishable_keys,
            settings.secret_keys,
            settings.operator_keys,
            requests_per_s=settings.key_requests_per_s,
            clock=clock_from(settings.clock_shift_file),
        )
        self._tokens = ShopperTokens(settings.shopper_token_secrets, clock_from(settings.clock_shift_file))
        if settings.embedded_kafka:  # else there may be keys on the log, which is read at the start
            self._refuse_open_door()
        self._origins = Origins(settings.allowed_origins, self._keys)
        self._running: contextlib.AsyncExitStack | None = None
        self._routes = Routes()
        self.services: Services

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "http":
            await self._routes(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:  # nothing here speaks WebSocket
            await send({"type": "websocket.close", "code": 1000})

    async def _lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        try:
            await self.start()
        except DaogouError as error:
            await send({"type": "lifespan.startup.failed", "message": error.message})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def start(self) -> None:
        """Connect, load, and begin to follow.

        Raises:
            RedisAway, KafkaAway: names the address tried.
            SettingWrong: it would listen beyond loopback without keys.
        """
        async with contextlib.AsyncExitStack() as stack:
            wiring = _Wiring(self._settings, self._keys, stack)
            # The parser of expressions takes half a second to come: before the first page, not in the midst of others.
            await asyncio.to_thread(expressions.check, "true", "1.0")
            self.services = services = await wiring.services()
            self._refuse_open_door()
            table = [
                *operations(services),
                *list_routes.operations(
                    services.recommender, services.catalogue, services.knowledge, services.metrics, services.clock
                ),
                *settings_routes.operations(services.settings),
                *item_routes.operations(services.writer),
                *segment_routes.operations(services.collector, services.clock),
            ]
            table += pages.operations(openapi.document(table, version("daogou")))
            self._routes = Routes(table, self._door(services, wiring.admission()))
            self._running = stack.pop_all()
        if not self._keys.configured:
            _log.warning("no keys are configured: only this machine is answered (DAOGOU_SECRET_KEYS)")
        _log.info("the API is ready", items=len(services.catalogue), model=services.model.version)
        self._when_ready()

    def _refuse_open_door(self) -> None:
        if not self._keys.configured and not is_loopback(self._settings.host):
            raise SettingWrong(
                f"DAOGOU_HOST = {self._settings.host!r}: beyond loopback only with keys. "
                "Allowed: a loopback address, or set DAOGOU_SECRET_KEYS, or make keys: daogou keys create.",
                path="host",
            )

    async def stop(self) -> None:
        """End what was started, in reverse order."""
        if self._running is not None:
            await self._running.aclose()
            self._running = None

    def _door(self, services: Services, admission: Admission) -> Door:
        return Door(
            services.tenant, self._keys, self._tokens, self._origins, services.once, admission, services.metrics
        )


class _Wiring:
    """Makes each part and says how it ends."""

    def __init__(self, settings: Settings, keys: Keys, stack: contextlib.AsyncExitStack) -> None:
        self._settings = settings
        self._keys = keys
        self._stack = stack
        self._clock = clock_from(settings.clock_shift_file)
        self._metrics = Metrics(OF_API)
        self._admission = Admission(
            settings.requests_max, settings.working_max, settings.lag_max_ms / 1000, self._metrics
        )
        self._ended: list[str] = []
        self._writer: Producer | None = None

    async def services(self) -> Services:
        """All parts, connected and loaded."""
        settings, catalogue = self._settings, Catalogue()
        events, catalog_topic, triggers_topic = await asyncio.to_thread(self._topics)
        lane = await self._lane()
        model, statistics = await self._model(), await self._statistics()
        knowledge = ItemKnowledge(model, statistics, BestOfCategories(self._clock))
        follower = await self._catalogue(catalogue, catalog_topic)
        reader = ShopperReader(lane, settings.partition_count, events.log, Unread(self._metrics))
        shown, policies = ShownLately(lane), Policies(frozenset(settings.repeat_scenarios))
        acknowledged = Acknowledged(settings.partition_count)
        waiting = Waiting(reader, catalogue, catalog_topic.log, acknowledged, self._admission.aside)
        producer = await self._producer()
        to = EventLog(events.log, settings.partition_count, settings.tenant)
        triggers = TriggerLog(triggers_topic, settings.tenant)
        await triggers.start()
        self._in_background("triggers", triggers.run())
        decisions, shop_settings = await self._decisions(), await self._shop_settings(producer, policies)
        place = Place(settings.tenant, settings.partition_count)
        return Services(
            tenant=settings.tenant,
            collector=Collector(
                to,
                producer,
                catalogue,
                acknowledged,
                clock=self._clock,
                new_id=_new_id,
                metrics=self._metrics,
                links=reader,
            ),
            recommender=Recommender(
                place,
                Stock(reader, catalogue, model, knowledge),
                Looking(place, reader, shown, model, waiting, self._clock),
                policies,
                shown,
                Recorder(decisions, place, knowledge, version("daogou")),
                clock=self._clock,
                new_id=_new_id,
            ),
            writer=ItemWriter(
                CatalogueLog(catalog_topic.log, settings.partition_count, settings.tenant),
                producer,
                catalogue,
            ),
            catalogue=catalogue,
            model=model,
            knowledge=knowledge,
            reader=reader,
            triggers=triggers,
            decisions=decisions,
            settings=shop_settings,
            health=Health(
                lane,
                follower,
                model,
                statistics,
                triggers,
                shop_settings,
                self._ask_kafka,
                self._ended,
                archived(settings),
            ),
            once=Once(lane, _new_id),
            metrics=self._metrics,
            clock=self._clock,
            cart_abandoned_s=settings.cart_abandoned_s,
        )

    def _topics(self) -> tuple[Topic, Topic, Topic]:
        settings = self._settings
        kafka_admin.check_topics(settings.brokers, settings.partition_count)
        names = (topics.EVENTS, topics.CATALOG, topics.TRIGGERS)
        first, second, third = (open_topic(settings.brokers, name, settings.embedded_log) for name in names)
        return first, second, third

    def admission(self) -> Admission:
        """What guards this process' time."""
        self._in_background("admission", self._admission.watch())
        return self._admission

    def _ask_kafka(self) -> None:
        kafka_admin.partition_counts(self._settings.brokers, _KAFKA_ASKED_S)
        if self._writer is not None:
            self._writer.check()

    async def _lane(self) -> RedisLane:
        lane = RedisLane(self._settings.redis, self._settings.redis_timeout_ms)
        await lane.start()
        self._stack.push_async_callback(lane.close)
        return lane

    async def _producer(self) -> Producer:
        producer = Producer(self._settings.brokers, embedded=bool(self._settings.embedded_log))
        await producer.start()
        self._writer = producer
        self._stack.push_async_callback(asyncio.to_thread, producer.close)
        return producer

    async def _shop_settings(self, producer: Producer, policies: Policies) -> ShopSettings:
        settings = self._settings
        topic = await asyncio.to_thread(open_topic, settings.brokers, topics.SETTINGS, settings.embedded_log)
        found = ShopSettings(
            topic,
            producer,
            settings.tenant,
            settings.partition_count,
            {"scenario": scenario_kind(SCENARIOS), "experiment": experiment_kind(SCENARIOS), "key": key_kind()},
            {"scenario": policies.take_scenario, "experiment": policies.take_experiment, "key": self._keys.take},
            clock=self._clock,
        )
        await found.load()
        self._in_background("settings", found.run())
        return found

    async def _decisions(self) -> DecisionLog:
        settings, metrics = self._settings, self._metrics
        topic = await asyncio.to_thread(open_topic, settings.brokers, topics.DECISIONS, settings.embedded_log)
        poster = Poster(settings.brokers, lambda: count_lost(metrics), embedded=topic.embedded)
        poster.start()
        self._stack.push_async_callback(asyncio.to_thread, poster.close)
        return DecisionLog(poster, topic, settings.tenant, settings.partition_count, metrics)

    async def _model(self) -> ModelInService:
        model = ModelInService(lambda: released(self._settings.models_dir), Artifact.open, self._metrics)
        await model.try_to_look()  # when it cannot be opened, lists are made without it
        self._in_background("model", model.follow())
        return model

    async def _statistics(self) -> StatisticsReader:
        client = await self._client()
        reader = StatisticsReader(client, self._settings.tenant, where=address(self._settings.redis))
        await reader.try_to_look()  # lists are made without them, too
        self._in_background("statistics", reader.follow())
        return reader

    async def _client(self) -> Redis:
        client: Redis = await connect(self._settings.redis, _START_TIMEOUT_MS)
        self._stack.push_async_callback(client.aclose)
        return client

    async def _catalogue(self, catalogue: Catalogue, topic: Topic) -> CatalogueFollower:
        client = await self._client()
        where = address(self._settings.redis)
        follower = CatalogueFollower(
            catalogue, CatalogStore(client), topic, self._settings.tenant, where=where, metrics=self._metrics
        )
        await follower.load()
        self._in_background("catalogue", follower.run())
        return follower

    def _in_background(self, name: str, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(self._tell_if_failed)
        self._stack.push_async_callback(_cancelled, task)

    def _tell_if_failed(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and task.exception() is not None:
            self._ended.append(task.get_name())
            _log.error("work in the background ended with an error", work=task.get_name(), exc_info=task.exception())


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait((task,))


def _new_id() -> str:
    return secrets.token_hex(8)
