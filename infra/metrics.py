"""Every metric, once: name, kind, meaning, labels. Composition roots make one `Metrics` and hand it on.

No label holds a shopper, an item or a key: the number of series stays bounded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.registry import Collector


@dataclass(frozen=True, slots=True)
class Metric:
    """What is measured; a histogram has bucket bounds, in the unit that its name ends with."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


_FAST = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.25, 0.5, 1.0, 2.0, 5.0)
_SLOW = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
_SIZES = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)

EVENTS_TAKEN: Final = Metric(
    "daogou_events_taken_total", "counter", "events acknowledged by Kafka at the door", ("event_name",)
)
EVENTS_REFUSED: Final = Metric("daogou_events_refused_total", "counter", "events refused at the door", ("code",))
EVENTS_APPLIED: Final = Metric("daogou_events_applied_total", "counter", "events folded into shopper rows")
EVENTS_DUPLICATE: Final = Metric("daogou_events_duplicate_total", "counter", "events seen before, dropped")
EVENTS_LATE: Final = Metric("daogou_events_late_total", "counter", "events too late for their shopper's row")
EVENTS_REDELIVERED: Final = Metric(
    "daogou_events_redelivered_total", "counter", "records at or below the fence, skipped"
)
DEAD_LETTERS: Final = Metric(
    "daogou_dead_letters_total", "counter", "records that could not be processed", ("topic", "code")
)
BATCH_SECONDS: Final = Metric(
    "daogou_batch_seconds", "histogram", "time of one micro-batch by stage, and of all", ("stage",), _FAST
)
STATISTICS_SECONDS: Final = Metric(
    "daogou_statistics_seconds", "histogram", "time in which the statistics of items were merged", (), _SLOW
)
BATCH_RECORDS: Final = Metric("daogou_batch_records", "histogram", "records of one micro-batch", (), _SIZES)
WAITING_RECORDS: Final = Metric(
    "daogou_waiting_records", "gauge", "records that were read ahead and wait to be applied", ("topic",)
)
PAUSED_SINCE: Final = Metric(
    "daogou_paused_since_seconds", "gauge", "since when an operator's pause holds, seconds since 1970; 0: it does not"
)
STANDING_SECONDS: Final = Metric(
    "daogou_standing_seconds",
    "gauge",
    "how long a partition has not moved on though records wait behind what was applied",
    ("topic", "partition"),
)
RECORDS_LOST: Final = Metric(
    "daogou_records_lost_total", "counter", "records that retention took before they were applied", ("topic",)
)
EVENT_TO_SHELF_SECONDS: Final = Metric(
    "daogou_event_to_shelf_seconds",
    "histogram",
    "from the receipt of a live event to the list that knows of it, one for each shopper and batch",
    (),
    _SLOW,
)
SHOPPERS_SCORED: Final = Metric("daogou_shoppers_scored_total", "counter", "lists prepared")
DERIVED_FAILED: Final = Metric(
    "daogou_derived_failed_total", "counter", "shoppers whose feature values or list could not be made", ("what",)
)
READ_OFFSET: Final = Metric("daogou_read_offset", "gauge", "last offset that came from the broker", ("partition",))
FENCE_OFFSET: Final = Metric("daogou_fence_offset", "gauge", "last offset applied", ("partition",))
LAG_RECORDS: Final = Metric(
    "daogou_lag_records", "gauge", "records between the fence and the log's end", ("partition",)
)
WATERMARK_SECONDS: Final = Metric(
    "daogou_watermark_delay_seconds", "gauge", "age of the newest live event applied, by event time", ("partition",)
)
OUTBOX_RECORDS: Final = Metric("daogou_outbox_records", "gauge", "effects that wait for Kafka", ("partition",))
OUTBOX_FULL: Final = Metric(
    "daogou_outbox_full", "gauge", "partitions whose outbox is over its bound; above 0 nothing is applied"
)
OWNERSHIP_LOST: Final = Metric(
    "daogou_ownership_lost_total", "counter", "times that a worker had to end itself", ("code",)
)
TRIGGERS_DECIDED: Final = Metric(
    "daogou_triggers_decided_total", "counter", "messages decided, sent or not", ("kind", "reason")
)
CATALOG_RECORDS: Final = Metric("daogou_catalog_records_total", "counter", "catalogue facets applied")
ITEM_CHANGES_TOLD: Final = Metric(
    "daogou_item_changes_told_total", "counter", "changes of items put on the log, into all partitions", ("kind",)
)
ITEM_CHANGES_HEARD: Final = Metric(
    "daogou_item_changes_heard_total", "counter", "changes of items applied, in each partition", ("kind",)
)
ITEM_CHANGE_WATCHERS: Final = Metric(
    "daogou_item_change_watchers_total",
    "counter",
    "shoppers who watched the item of such a change",
    ("kind", "interest"),
)
CATALOG_UNREADABLE: Final = Metric(
    "daogou_catalog_unreadable", "gauge", "items in Redis that could not be read when they were last loaded"
)
CATALOG_ITEMS: Final = Metric("daogou_catalog_items", "gauge", "items in this process's catalogue")
ARCHIVED_EVENTS: Final = Metric("daogou_archived_events_total", "counter", "events written to the archive")
ARCHIVE_AWAY: Final = Metric(
    "daogou_archive_away_total", "counter", "times that the archive's store did not answer; records wait meanwhile"
)
MODEL_RELEASED: Final = Metric(
    "daogou_model_released", "gauge", "1 for the version that this process scores with", ("version",)
)
MODEL_WAITS: Final = Metric(
    "daogou_model_waits", "gauge", "1 while the released model cannot be taken into service, else 0"
)
NEW_ITEMS: Final = Metric(
    "daogou_new_items_total",
    "counter",
    "items that the model in service was not trained on, by what became of them",
    ("outcome",),
)
NEW_ITEMS_WAITING: Final = Metric("daogou_new_items_waiting", "gauge", "items that wait for a vector")
SHADOW_LISTS: Final = Metric(
    "daogou_shadow_lists_total", "counter", "lists of a candidate that is tried, by what became of them", ("outcome",)
)
SHADOW_ITEMS: Final = Metric(
    "daogou_shadow_items_total",
    "counter",
    "first items of a candidate's lists: those that the list in service has (shared), and those that could be (places)",
    ("which",),
)
SHADOW_NEXT_ITEMS: Final = Metric(
    "daogou_shadow_next_items_total",
    "counter",
    "items that shoppers turned to next, by whose list had them among its first: both, live, shadow, none",
    ("among",),
)
SHADOW_CPU_SECONDS: Final = Metric(
    "daogou_shadow_cpu_seconds_total",
    "counter",
    "processor time of lists while a candidate is tried: live, shadow",
    ("model",),
)
HTTP_SECONDS: Final = Metric("daogou_http_seconds", "histogram", "time to answer a request", ("route", "status"), _FAST)
REQUESTS_REFUSED: Final = Metric(
    "daogou_requests_refused_total", "counter", "requests refused because there is too much to do", ("why",)
)
LOOP_LAG_SECONDS: Final = Metric(
    "daogou_loop_lag_seconds", "gauge", "by how much the process was behind its work when it last looked"
)
SHOPPER_UNREADABLE: Final = Metric(
    "daogou_shopper_unreadable_total", "counter", "answers of Redis about a shopper that could not be read", ("what",)
)
PAGE_FALLBACKS: Final = Metric(
    "daogou_page_fallbacks_total", "counter", "lists that another source had to fill", ("why",)
)
ITEMS_SHOWN: Final = Metric("daogou_items_shown_total", "counter", "items in answers", ("source",))
DECISIONS_RECORDED: Final = Metric(
    "daogou_decisions_recorded_total",
    "counter",
    "records of lists: taken by the buffer, refused because it was full, lost because Kafka did not take them in time",
    ("outcome",),
)

METRICS: Final[tuple[Metric, ...]] = (
    EVENTS_TAKEN,
    EVENTS_REFUSED,
    EVENTS_APPLIED,
    EVENTS_DUPLICATE,
    EVENTS_LATE,
    EVENTS_REDELIVERED,
    DEAD_LETTERS,
    BATCH_SECONDS,
    STATISTICS_SECONDS,
    BATCH_RECORDS,
    WAITING_RECORDS,
    PAUSED_SINCE,
    STANDING_SECONDS,
    RECORDS_LOST,
    EVENT_TO_SHELF_SECONDS,
    SHOPPERS_SCORED,
    DERIVED_FAILED,
    READ_OFFSET,
    FENCE_OFFSET,
    LAG_RECORDS,
    WATERMARK_SECONDS,
    OUTBOX_RECORDS,
    OUTBOX_FULL,
    OWNERSHIP_LOST,
    TRIGGERS_DECIDED,
    CATALOG_RECORDS,
    ITEM_CHANGES_TOLD,
    ITEM_CHANGES_HEARD,
    ITEM_CHANGE_WATCHERS,
    CATALOG_ITEMS,
    CATALOG_UNREADABLE,
    ARCHIVED_EVENTS,
    ARCHIVE_AWAY,
    MODEL_RELEASED,
    MODEL_WAITS,
    NEW_ITEMS,
    NEW_ITEMS_WAITING,
    SHADOW_LISTS,
    SHADOW_ITEMS,
    SHADOW_NEXT_ITEMS,
    SHADOW_CPU_SECONDS,
    HTTP_SECONDS,
    REQUESTS_REFUSED,
    LOOP_LAG_SECONDS,
    SHOPPER_UNREADABLE,
    PAGE_FALLBACKS,
    ITEMS_SHOWN,
    DECISIONS_RECORDED,
)
# What each kind of process sets; the others would stand there as 0 for ever.
OF_API: Final[tuple[Metric, ...]] = (
    EVENTS_TAKEN,
    EVENTS_REFUSED,
    CATALOG_RECORDS,
    CATALOG_ITEMS,
    CATALOG_UNREADABLE,
    MODEL_RELEASED,
    MODEL_WAITS,
    HTTP_SECONDS,
    REQUESTS_REFUSED,
    LOOP_LAG_SECONDS,
    SHOPPER_UNREADABLE,
    PAGE_FALLBACKS,
    ITEMS_SHOWN,
    DECISIONS_RECORDED,
)
_OF_API_ALONE: Final = (
    EVENTS_TAKEN,
    EVENTS_REFUSED,
    CATALOG_ITEMS,
    CATALOG_UNREADABLE,
    HTTP_SECONDS,
    REQUESTS_REFUSED,
    LOOP_LAG_SECONDS,
    SHOPPER_UNREADABLE,
    PAGE_FALLBACKS,
    ITEMS_SHOWN,
    DECISIONS_RECORDED,
)
OF_WORKER: Final[tuple[Metric, ...]] = tuple(one for one in METRICS if one not in _OF_API_ALONE)


class Metrics:
    """The metrics of one process, in a registry of its own.

    Those that are `measured` are told from the start, another one from its first value on.
    """

    def __init__(self, measured: Sequence[Metric] = METRICS) -> None:
        self._registry = CollectorRegistry()
        self._collectors: dict[str, Collector] = {one.name: _collector(one, self._registry) for one in measured}
        # Looking a labelled series up costs several times as much as counting in it.
        self._labelled: dict[tuple[str, tuple[tuple[str, str], ...]], Any] = {}

    @property
    def registry(self) -> CollectorRegistry:
        """For a metrics server."""
        return self._registry

    def count(self, metric: Metric, by: float = 1, **labels: str) -> None:
        """Raise a counter."""
        series = self._series(metric, labels)
        assert isinstance(series, Counter), metric.kind
        series.inc(by)

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Set a gauge."""
        series = self._series(metric, labels)
        assert isinstance(series, Gauge), metric.kind
        series.set(value)

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Add one value to a histogram."""
        series = self._series(metric, labels)
        assert isinstance(series, Histogram), metric.kind
        series.observe(value)

    def _series(self, metric: Metric, labels: dict[str, str]) -> Any:
        if not labels:
            return self._collector(metric)
        key = (metric.name, tuple(labels.items()))
        found = self._labelled.get(key)
        if found is None:
            collector: Any = self._collector(metric)
            found = self._labelled[key] = collector.labels(**labels)
        return found

    def _collector(self, metric: Metric) -> Collector:
        found = self._collectors.get(metric.name)
        if found is None:
            found = self._collectors[metric.name] = _collector(metric, self._registry)
        return found

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)


def _collector(metric: Metric, registry: CollectorRegistry) -> Collector:
    if metric.kind == "counter":
        return Counter(metric.name, metric.meaning, metric.labels, registry=registry)
    if metric.kind == "gauge":
        return Gauge(metric.name, metric.meaning, metric.labels, registry=registry)
    return Histogram(metric.name, metric.meaning, metric.labels, registry=registry, buckets=metric.buckets)
