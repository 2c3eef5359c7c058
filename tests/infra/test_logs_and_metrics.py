"""What is logged and measured, and what never is."""

import io
import json
import logging

import pytest
import structlog

from infra import metrics
from infra.logs import configure, logger


@pytest.fixture
def _logging_as_before() -> object:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.usefixtures("_logging_as_before")
def test_json_lines_hold_no_shoppers_data() -> None:
    out = io.StringIO()
    configure("INFO", "json", out)
    logger("streams.worker").info("A batch was applied", partition=3, user_id="u-7", search_term="tea")
    logger("streams.worker").debug("Not at this level")
    logging.getLogger("somebody.else").warning("Away: %s", 3)
    first, second = map(json.loads, out.getvalue().splitlines())
    assert first["event"] == "A batch was applied"
    assert (first["partition"], first["logger"], first["level"]) == (3, "streams.worker", "info")
    assert "u-7" not in out.getvalue()
    assert "tea" not in out.getvalue()
    assert (second["event"], second["logger"]) == ("Away: 3", "somebody.else")


@pytest.mark.usefixtures("_logging_as_before")
def test_text_lines_tell_an_exception() -> None:
    out = io.StringIO()
    configure("INFO", "text", out)
    try:
        raise ValueError("seven")
    except ValueError:
        logger("x").exception("It failed", code="c")
    assert "It failed" in out.getvalue()
    assert "code=c" in out.getvalue()
    assert "ValueError: seven" in out.getvalue()


@pytest.mark.usefixtures("_logging_as_before")
def test_which_libraries_fbgemm_has_loaded_is_no_news() -> None:
    told = io.StringIO()
    configure("INFO", "text", told)
    root = logging.getLogger()
    for level in (logging.INFO, logging.ERROR):
        path = "/x/site-packages/fbgemm_gpu/__init__.py"
        root.handle(logging.LogRecord("root", level, path, 110, f"at {level}", (), None))
    root.handle(logging.LogRecord("root", logging.INFO, "/x/other/__init__.py", 1, "another's", (), None))
    assert f"at {logging.INFO}" not in told.getvalue()
    assert f"at {logging.ERROR}" in told.getvalue()
    assert "another's" in told.getvalue()


def test_every_metric_is_declared_once_and_listed() -> None:
    declared = [one for one in vars(metrics).values() if isinstance(one, metrics.Metric)]
    assert sorted(one.name for one in declared) == sorted(one.name for one in metrics.METRICS)
    assert len({one.name for one in declared}) == len(declared)


def test_names_follow_prometheus() -> None:
    for one in metrics.METRICS:
        assert one.name.startswith("daogou_")
        assert one.name.endswith("_total") == (one.kind == "counter")
        assert bool(one.buckets) == (one.kind == "histogram")


def test_what_is_counted_is_told() -> None:
    measured = metrics.Metrics()
    measured.count(metrics.EVENTS_TAKEN, 2, event_name="view_item")
    measured.count(metrics.EVENTS_TAKEN, event_name="view_item")
    measured.set(metrics.LAG_RECORDS, 7, partition="3")
    measured.observe(metrics.BATCH_SECONDS, 0.003, stage="fold")
    text = measured.text().decode()
    assert 'daogou_events_taken_total{event_name="view_item"} 3.0' in text
    assert 'daogou_lag_records{partition="3"} 7.0' in text
    assert 'daogou_batch_seconds_bucket{le="0.004",stage="fold"} 1.0' in text
    assert 'daogou_batch_seconds_bucket{le="0.002",stage="fold"} 0.0' in text


def test_each_process_tells_the_metrics_that_it_sets() -> None:
    api, worker = (metrics.Metrics(of).text().decode() for of in (metrics.OF_API, metrics.OF_WORKER))
    assert "daogou_catalog_records_total 0.0" in api
    assert "daogou_events_applied_total" not in api
    assert "daogou_events_applied_total 0.0" in worker
    assert "daogou_http_seconds" not in worker
    assert {*metrics.OF_API, *metrics.OF_WORKER} == {*metrics.METRICS}


def test_a_metric_of_another_process_is_told_once_it_has_a_value() -> None:
    measured = metrics.Metrics(metrics.OF_API)
    measured.count(metrics.EVENTS_APPLIED)
    assert "daogou_events_applied_total 1.0" in measured.text().decode()
