"""How a worker ends: one sentence that says what to do, and a status, whatever it was that ended it."""

import asyncio
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from pydantic import SecretStr

from infra.errors import Unavailable
from infra.settings import Settings, environment
from streams.worker.closing import ended_within, within
from streams.worker.process import FAILED_STATUS, started, told
from tests.streams.shop import PARTITIONS

SETTINGS = Settings(data_dir=Path("/somewhere/data"))


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/somewhere/x"),
            "os_error",
            "at /somewhere/x (No space left",
        ),
        (TimeoutError(), "os_error", "TimeoutError"),
        (msgspec.DecodeError("Expected `int`"), "unreadable_data", "another version wrote it"),
        (KeyError("secret of a shopper"), "internal", "KeyError, which nobody expected"),
    ],
)
def test_each_error_becomes_a_sentence_that_says_what_to_do(error: Exception, code: str, says: str) -> None:
    found, why = told(error, SETTINGS)
    assert found == code
    assert says in why
    assert "start again" in why or "load again" in why
    assert "secret of a shopper" not in why


async def test_a_start_that_takes_too_long_is_said_so() -> None:
    with pytest.raises(Unavailable, match=r"did not start within 0\.01 s: .*daogou doctor") as caught:
        await started(asyncio.Event().wait, within_s=0.01)
    assert caught.value.reason == "start_too_slow"


def test_a_step_of_the_end_that_swallows_its_cancelling_is_left_behind_and_the_process_ends() -> None:
    """As Faust's end does where it waits for a rebalance."""
    script = """
import asyncio
from streams.worker.closing import ended_within, within

async def stubborn():
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

async def main():
    await within(0.01, stubborn())
    print("left", flush=True)

runner = asyncio.Runner()
runner.run(main())
with ended_within(0.1, 7):
    runner.close()
print("never")
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (7, "left")
    assert "took too long" in ended.stdout + ended.stderr


async def test_a_step_of_the_end_is_waited_for_and_its_error_is_raised() -> None:
    steps: list[str] = []

    async def step() -> None:
        await asyncio.sleep(0)
        steps.append("done")
        raise ValueError("of the step")

    with pytest.raises(ValueError, match="of the step"):
        await within(30, step())
    assert steps == ["done"]


def test_what_ends_in_time_is_let_go_on() -> None:
    with ended_within(30, 7):
        pass


def test_a_folder_that_cannot_be_made_ends_the_worker_with_a_sentence(
    broker: str, redis_url: str, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "faust").write_text("a file where a folder is wanted")
    settings = Settings(
        kafka=broker,
        redis=SecretStr(redis_url),
        embedded_log="log",
        data_dir=tmp_path / "data",
        partitions=PARTITIONS,
        log_format="json",
    )
    ended = subprocess.run(
        [sys.executable, "-m", "streams.cli", "worker"],
        env={**os.environ, **environment(settings)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == FAILED_STATUS
    assert "Traceback" not in ended.stderr
    [line] = [json.loads(line) for line in ended.stderr.splitlines() if "the worker ends" in line]
    assert line["code"] == "os_error"
    assert f"see that {tmp_path / 'data'} has room" in line["why"]
