"""The table of `make bench-serving`: what a part is measured on, and the rows that it gives."""

import argparse
import contextlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from infra.settings import Settings
from tests.benchmarks import page_load
from tests.benchmarks.machine import ROOT, Cores, cpu_s
from tests.benchmarks.page_load import Figures
from tests.benchmarks.page_servers import api
from tests.benchmarks.page_shop import PageShop

OPERATOR: Final = "bench-operator-key"
SECRET: Final = "bench-secret-key"


@dataclass(frozen=True)
class Row:
    """A line of the table; `bar` is empty where a figure is only stated."""

    what: str
    said: str
    bar: str = ""
    held: bool = True


@dataclass
class Server:
    """An API process."""

    port: int
    pid: int
    key: str = ""

    @property
    def resident_mb(self) -> float:
        """Memory that it holds now."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One call with the operator's key; anything but success is an error."""
        raw = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} | ({"X-API-Key": OPERATOR} if self.key else {})
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", raw, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            raise SystemExit(f"{method} {path}: {refused.code} {refused.read()[:300]!r}") from None


@dataclass
class Bench:
    """What every part is measured on. `peak` is the plain page view's rate, once it was measured."""

    options: argparse.Namespace
    settings: Settings
    shop: PageShop
    folder: Path
    cores: Cores
    peak: float = 0.0
    kept: dict[str, Any] = field(default_factory=dict)

    @property
    def pages(self) -> list[bytes]:
        """The page view of each shopper."""
        return [shopper.body for shopper in self.shop.shoppers]

    @contextlib.contextmanager
    def api(self, *, keys: bool = False, settings: Settings | None = None) -> Iterator[Server]:
        """An API process on its core; with `keys` there are some configured."""
        of = settings or self.settings
        if keys:
            given = {"secret_keys": (SecretStr(SECRET),), "operator_keys": (SecretStr(OPERATOR),)}
            of = of.model_copy(update=given)
        with api(of, ROOT, self.cores.measured) as (port, pid):
            yield Server(port, pid, SECRET if keys else "")

    def closed(
        self, server: Server, bodies: Sequence[bytes], connections: int, path: str = page_load.PATH
    ) -> tuple[Figures, float]:
        """As fast as they are answered: figures, and µs of the server's CPU for each. A second to warm comes first."""
        file = self.folder / "bodies"
        file.write_bytes(b"\n".join(bodies) + b"\n")
        for seconds in (1.0, self.options.seconds):
            used = cpu_s(server.pid)
            figures = page_load.run(
                server.port, self.shop.shoppers, file, connections, seconds, path=path, key=server.key
            )
        return figures, (cpu_s(server.pid) - used) / figures.requests * 1e6


Part = Callable[[Bench], Iterator[Row]]


def at_least(what: str, value: float, bar: float, said: str) -> Row:
    """A row with a bar below."""
    return Row(what, said, f"≥ {bar:,g}", value >= bar)


def at_most(what: str, value: float, bar: float, said: str) -> Row:
    """A row with a bar above."""
    return Row(what, said, f"≤ {bar:,g}", value <= bar)


def rated(what: str, found: Figures, cpu_us: float, rate: float, p99_ms: float) -> Iterator[Row]:
    """Rate and p99 against their bars, and no wrong answer. A rate of 0 is only stated."""
    said = f"{found.rate:,.0f}/s, {cpu_us:.0f} µs of CPU each"
    yield at_least(f"{what}: requests/s", found.rate, rate, said) if rate else Row(f"{what}: requests/s", said)
    yield at_most(f"{what}: p99, ms", found.p99_ms, p99_ms, f"p50 {found.p50_ms:.2f} ms, p99 {found.p99_ms:.2f} ms")
    if found.wrong:
        yield Row(f"{what}: wrong answers", f"{found.wrong:,} of {found.requests:,}", "≤ 0", held=False)


def shown(part: str, rows: Iterator[Row]) -> list[Row]:
    """Print the rows of a part as they come."""
    began, found = time.monotonic(), []
    for row in rows:
        found.append(row)
        judged = "" if not row.bar else f"   bar {row.bar}: {'ok' if row.held else 'MISSED'}"
        print(f"{part:<10} {row.what:<44} {row.said}{judged}", flush=True)
    print(f"{part:<10} took {time.monotonic() - began:.0f} s", flush=True)
    return found
