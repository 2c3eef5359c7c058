"""Bad input, drawn and by hand: no answer is a failure of ours, every answer is as the document says, and the server
goes on serving.

    make fuzz ARGS="--seed 1 [--quick]"

1. schemathesis draws requests, right and wrong ones, from the OpenAPI document of a real server, for every operation.
2. A list of nasty ones, by hand (`bad_input`): after each of them a page must be served as before.
3. Entries in Redis that nobody should have written: the page comes all the same.

An answer of 503 is allowed by the document, and none may come here: Kafka and Redis are there. Ends with one line, and
with status 1 if anything was otherwise. Redis and Kafka are those of the settings, else embedded ones.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from infra.redis import connect
from infra.settings import Settings
from streams.terminal import sigterm_as_ctrl_c
from tests.benchmarks.machine import ROOT, commit, cores
from tests.benchmarks.page_servers import api, outside
from tests.benchmarks.page_shop import PageShop, this_hour
from tests.proofs import bad_input

ITEMS, SHOPPERS = 400, 20
CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
)
# The document says less than the server checks (a filter is an expression, a token one of ours), so a request that
# fits it may be refused, and it says no more than that of events, whose other vocabularies are read by their own names.
PHASES: Final = "examples,coverage,fuzzing"
# Ids hold slashes, and PUT /v1/items/x/similar changes the item "x/similar": other methods are taken there.
_BELOW_ITEMS: Final = "^/v1/items/.item_id./"
# Beside what it expects by itself: heads that are too large.
_REFUSED: Final = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429, 431]
"""
_OF_METHODS: Final = ("unsupported_method", "allow_header_conformance")


def main() -> int:
    """Run all three; 0 when nothing was found."""
    options = _options()
    sigterm_as_ctrl_c()
    print(f"commit     {commit()}, seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="daogou-fuzz-") as name, outside(Path(name)) as (settings, servers):
        print(f"servers    {servers}", flush=True)
        shop = PageShop(options.seed, ITEMS, SHOPPERS, this_hour())
        asyncio.run(_filled(settings, shop))
        settings = settings.model_copy(update={"operator_keys": (SecretStr(bad_input.KEY),)})
        with api(settings, ROOT, cores().measured) as (port, _):
            drawn = 0
            faults: list[str] = []
            for all_checks in (True, False):
                count, found = _drawn(port, options, Path(name), all_checks=all_checks)
                drawn, faults = drawn + count, faults + found
            tried, found = bad_input.tried(port, shop)
            faults += found
            poisoned, found = asyncio.run(bad_input.poisoned(port, shop, settings))
            faults += found
        faults += _failures(settings.data_dir / "api.log")
    for fault in faults[:40]:
        print(f"  {fault}")
    print(
        f"fuzz: {'ok' if not faults else 'FAILED'}, {drawn:,} drawn requests, {tried} by hand, "
        f"{poisoned} poisoned entries, {len(faults)} faults"
    )
    return 1 if faults else 0


async def _filled(settings: Settings, shop: PageShop) -> None:
    client = await connect(settings.redis, 30_000)
    await shop.write(settings, client)
    await client.aclose()


def _drawn(port: int, options: argparse.Namespace, folder: Path, *, all_checks: bool) -> tuple[int, list[str]]:
    """How many requests schemathesis sent, and what it found."""
    report = folder / f"drawn-{all_checks}.ndjson"
    command = [
        sys.executable,
        "-m",
        "schemathesis.cli",
        "run",
        f"http://127.0.0.1:{port}/openapi.json",
        f"--seed={options.seed}",
        f"--max-examples={options.examples}",
        f"--phases={PHASES}",
        f"--header=X-API-Key: {bad_input.KEY}",
        "--workers=1",
        "--request-timeout=10",
        "--generation-database=none",
        "--warnings=off",
        "--continue-on-failure",
        "--no-shrink",
        "--report=ndjson",
        f"--report-ndjson-path={report}",
        "--no-color",
    ]
    (folder / "schemathesis.toml").write_text(_REFUSED)
    if options.only:
        command.append(f"--include-path-regex={options.only}")
    command += ["--exclude-path-regex" if all_checks else "--include-path-regex", _BELOW_ITEMS]
    command.append(f"--checks={','.join(one for one in CHECKS if all_checks or one not in _OF_METHODS)}")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=os.environ)
    if options.told:
        print(done.stdout)
    return _sent(report), list(_found(done))


def _sent(report: Path) -> int:
    count = 0
    for line in report.read_text().splitlines() if report.exists() else ():
        finished = json.loads(line).get("ScenarioFinished", {})
        recorder: dict[str, Any] = finished.get("recorder", {})
        count += len(recorder.get("interactions", {}))
    return count


def _found(done: "subprocess.CompletedProcess[str]") -> Iterator[str]:
    if done.returncode == 0:
        return
    _, _, failures = done.stdout.partition("= FAILURES =")
    yield f"schemathesis ended with {done.returncode}: {(failures or done.stdout)[-6000:]} {done.stderr[-1000:]}"


def _failures(log: Path) -> list[str]:
    """What the server itself says went wrong in it."""
    lines = log.read_text(errors="replace").splitlines()
    return [f"the server's log: {line[:300]}" for line in lines if "a request failed" in line or "Traceback" in line]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--examples", type=int, default=0, help="of each operation: 200; with --quick 20")
    parser.add_argument("--only", default="", help="paths that match this pattern")
    parser.add_argument("--told", action="store_true", help="print all that schemathesis says")
    parser.add_argument("--quick", action="store_true", help="fewer examples")
    options = parser.parse_args()
    options.examples = options.examples or (20 if options.quick else 200)
    return options


if __name__ == "__main__":
    sys.exit(main())
