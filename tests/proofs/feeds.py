"""What puts events on the log while a worker applies them: made events at once, or `daogou load` of a file."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import msgspec

from infra.children import end_child, start_child
from infra.kafka import Outgoing
from infra.settings import Settings, environment
from streams.load_report import LoadReport
from tests.bulk import BulkProducer


class Feed(Protocol):
    """Events for one run. The same feed, begun again, brings the same events."""

    def begin(self, settings: Settings) -> None:
        """Begin to put them on the log."""
        ...

    def done(self) -> bool:
        """Whether all of them are there.

        Raises:
            SystemExit: it failed.
        """
        ...

    def close(self) -> None:
        """End it, whatever it does."""
        ...


class MadeEvents:
    """Records that lie on the log before the worker starts."""

    def __init__(self, records: Callable[[], Iterable[Outgoing]]) -> None:
        self._records = records

    def begin(self, settings: Settings) -> None:
        """Put them all there."""
        producer = BulkProducer(settings.kafka, embedded=settings.embedded_kafka)
        producer.send_all(self._records())
        producer.close()

    def done(self) -> bool:
        """They are there since the beginning."""
        return True

    def close(self) -> None:
        """Nothing runs."""


class FileLoad:
    """`daogou load FILE --mapping NAME` as a process of its own; `more` are options, none: through the log."""

    def __init__(self, source: Path, mapping: str, folder: Path, *more: str) -> None:
        self._arguments = [str(source), "--mapping", mapping, *more]
        self._said = folder / "load.log"
        self._json = folder / "load.json"
        self._process: subprocess.Popen[bytes] | None = None
        self.reports: list[LoadReport] = []

    def begin(self, settings: Settings) -> None:
        """Start the command; it ends when the worker has applied everything."""
        command = [sys.executable, "-m", "streams.cli", "load", *self._arguments, "--json", str(self._json)]
        with self._said.open("wb") as output:
            self._process = start_child(command, env={**os.environ, **environment(settings)}, output=output)

    def done(self) -> bool:
        """Whether it has ended well; its report is then the last one."""
        if self._process is None:
            return True
        status = self._process.poll()
        if status is None:
            return False
        if status != 0:
            raise SystemExit(f"the load ended with status {status}: {self.said[-2000:]}")
        self._process = None
        self.reports.append(msgspec.json.decode(self._json.read_bytes(), type=LoadReport))
        return True

    def close(self) -> None:
        """End it if it still runs."""
        if self._process is not None:
            end_child(self._process, within_s=5.0)

    @property
    def said(self) -> str:
        """What the command printed."""
        return self._said.read_text()
