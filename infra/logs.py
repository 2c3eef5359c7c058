"""Structured logs: structlog over the standard library, so that the packages' own records come out alike.

An event is a fixed sentence; what varies goes into its fields. No field holds a shopper's data: values under the
names below are cut out here, as a last net, wherever they come from.
"""

import logging
import sys
from collections.abc import MutableMapping
from pathlib import Path
from traceback import extract_tb
from typing import Any, Final, TextIO

import structlog

_HIDDEN: Final = frozenset(
    {
        "anonymous_id",
        "body",
        "email",
        "key",
        "password",
        "phone",
        "search_term",
        "session_id",
        "shopper_id",
        "token",
        "traits",
        "user_id",
        "value",
    }
)
_CHATTY: Final = "fbgemm_gpu"
# Packages whose DEBUG lines hold whole records, and whose INFO lines say every request.
_QUIET: Final = {
    "aiokafka": logging.WARNING,
    "asyncio": logging.INFO,
    "faust": logging.INFO,
    "feast": logging.WARNING,
    "httpx": logging.WARNING,
    "mode": logging.INFO,
    "torch.fx": logging.ERROR,  # tells each process once of a name that TorchRec uses
    "uvicorn.access": logging.WARNING,
}


def said(error: BaseException) -> str:
    """What went wrong and where, without the error's text, which may hold a shopper's data."""
    frames = extract_tb(error.__traceback__)
    at = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{at}"


def configure(level: str, fmt: str, stream: TextIO | None = None) -> None:
    """Set up the logs of this process, on stderr: `json` lines for machines, `text` for people."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _hide,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    out = stream or sys.stderr
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendered(fmt, out)],
        )
    )
    handler.addFilter(_wanted)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(least, logging.getLevelNamesMapping()[level]))


def _wanted(record: logging.LogRecord) -> bool:
    """Whether a line is worth showing: fbgemm says by the root's own logger, at INFO, which libraries it has loaded."""
    return record.levelno > logging.INFO or _CHATTY not in Path(record.pathname).parts


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module: `logger(__name__)`. It may be made before `configure`."""
    bound: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return bound


def _rendered(fmt: str, out: TextIO) -> list[structlog.typing.Processor]:
    if fmt == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=plain)]


def _hide(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name in _HIDDEN & event.keys():
        event[name] = "(hidden)"
    return event
