"""A worker in a process of its own, as `daogou worker` starts it."""

import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from infra.children import end_child, start_child
from infra.ready import VARIABLE, ReadyListener
from infra.settings import Settings, environment

READY_WITHIN_S = 60.0
POLL_S = 0.1


class Worker:
    """One process; its output goes to a file in the data folder. `more` are variables beside the settings."""

    def __init__(self, settings: Settings, more: Mapping[str, str] = MappingProxyType({})) -> None:
        self._settings = settings
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        self.log: Path = settings.data_dir / "worker.log"
        with ReadyListener() as listener, self.log.open("ab") as output:
            env = {**os.environ, **environment(settings), VARIABLE: listener.address, **more}
            self._process = start_child([sys.executable, "-m", "streams.cli", "worker"], env=env, output=output)
            until = time.monotonic() + READY_WITHIN_S
            while not listener.heard(POLL_S):
                if time.monotonic() > until or self._process.poll() is not None:
                    self.stop()
                    raise AssertionError(f"the worker is not ready: {self.last_words}")

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def last_words(self) -> str:
        """The end of what it logged."""
        return self.log.read_text()[-3000:]

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> int:
        """Ask it to end; its status."""
        return end_child(self._process, within_s=20.0)

    def ended(self, within_s: float) -> int:
        """Wait for it to end by itself; its status."""
        return self._process.wait(within_s)

    def ask_to_end(self) -> None:
        """As whoever runs it would."""
        self._process.send_signal(signal.SIGTERM)

    def health(self, which: str) -> tuple[int, dict[str, Any]]:
        """(status, what it says) of `/health/live` or `/health/ready`."""
        try:
            with urllib.request.urlopen(f"{self._url}/health/{which}", timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            return refused.code, json.load(refused)

    def sum_of(self, metric: str) -> float:
        """The sum of a metric over all its labels."""
        with urllib.request.urlopen(self._url, timeout=5) as answer:
            text = answer.read().decode()
        families = text_string_to_metric_families(text)
        return sum(one.value for family in families for one in family.samples if one.name == metric)

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._settings.metrics_port}"

    def read_offsets(self) -> dict[int, int]:
        """The last offset of each partition that this process has had from the broker, by its own metrics."""
        with urllib.request.urlopen(self._url, timeout=5) as answer:
            text = answer.read().decode()
        return {
            int(sample.labels["partition"]): int(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "daogou_read_offset"
        }
