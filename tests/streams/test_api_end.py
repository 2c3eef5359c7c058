"""How API processes end and are kept: nobody who asks is sent away, whichever of them ends."""

import http.client
import json
import os
import signal
import threading
import time

from infra.ports import listen, port_of
from infra.settings import Settings
from serving import tokens
from tests.streams.api_process import JSON, AnApi, running

WAITING_S = 60


def test_after_sigterm_it_is_not_ready_answers_what_is_asked_and_ends_with_0(settings: Settings) -> None:
    with running(settings.model_copy(update={"drain_s": 2})) as api:
        kept = http.client.HTTPConnection("127.0.0.1", api.port, timeout=60)
        kept.request("GET", "/health/ready")
        answer = kept.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()
        never = tokens.encode({f"{settings.embedded_log}:shop.events.v1": dict.fromkeys(range(8), 10**12)})
        asked = {"user_id": "ann", "max_wait_ms": 2000, "min_token": never}
        waiting = http.client.HTTPConnection("127.0.0.1", api.port, timeout=60)
        waiting.request("POST", "/v1/recommendations", json.dumps(asked), JSON)
        os.kill(api.process.pid, signal.SIGTERM)
        until = time.monotonic() + WAITING_S
        while (told := api.get("/health/ready"))[0] == 200:  # new connections are still taken
            assert time.monotonic() < until
        assert told[0] == 503
        assert json.loads(told[1])["errors"][0]["path"] == "process"
        kept.request("GET", "/health/live")
        answer = kept.getresponse()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert waiting.getresponse().status == 200
        said, _ = api.process.communicate(timeout=60)
        assert api.process.returncode == 0, said
        assert "Traceback" not in said
        assert "ann" not in said
        kept.close()
        waiting.close()


def children(api: AnApi) -> list[int]:
    """The processes behind the port."""
    with open(f"/proc/{api.process.pid}/task/{api.process.pid}/children") as file:
        return [int(pid) for pid in file.read().split()]


class Load:
    """Asks without a pause on some connections, and again on new ones where it is told that this was the last."""

    def __init__(self, port: int, connections: int) -> None:
        self._port = port
        self._ended = threading.Event()
        self.statuses: dict[int, int] = {}
        self.broken: list[str] = []
        self._threads = [threading.Thread(target=self._ask) for _ in range(connections)]
        for one in self._threads:
            one.start()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        while not self._ended.is_set():
            try:
                connection.request("POST", "/v1/recommendations", '{"user_id": "ann"}', JSON)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.broken.append(repr(error))
                connection.close()
                continue
            self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
        connection.close()

    @property
    def answered(self) -> int:
        return sum(self.statuses.values())

    def more(self, by: int) -> None:
        """Until so many more are answered."""
        wanted, until = self.answered + by, time.monotonic() + WAITING_S
        while self.answered < wanted:
            assert time.monotonic() < until, self.broken
            time.sleep(0.01)

    def end(self) -> None:
        self._ended.set()
        for one in self._threads:
            one.join()


def answered(api: AnApi, port: int) -> int:
    """The status of its metrics, once it listens."""
    until = time.monotonic() + WAITING_S
    while True:
        try:
            return api.ask("GET", "/metrics", port=port)[0]
        except ConnectionRefusedError:
            assert time.monotonic() < until
            time.sleep(0.05)


def test_of_several_processes_one_may_end_or_die_and_is_started_again(settings: Settings) -> None:
    with listen("127.0.0.1", 0) as free:
        own = port_of(free)
    with running(settings.model_copy(update={"process_port": own}), "--processes", "2") as api:
        first = children(api)
        assert len(first) == 2
        load = Load(api.port, 4)
        try:
            load.more(200)
            os.kill(first[0], signal.SIGTERM)
            until = time.monotonic() + WAITING_S
            while first[0] in children(api) or len(children(api)) < 2:
                assert time.monotonic() < until
                time.sleep(0.05)
            load.more(200)
        finally:
            load.end()
        assert load.broken == []
        assert set(load.statuses) == {200}
        os.kill(first[1], signal.SIGKILL)
        while first[1] in children(api) or len(children(api)) < 2:
            assert time.monotonic() < until + WAITING_S
            time.sleep(0.05)
        assert api.page(user_id="ann")[0] == 200
        for n in range(2):  # the one that was started again listens once it is ready
            assert answered(api, own + n) == 200
        status, said = api.end()
        assert status == 0, said
        assert said.count("starting it again") == 2
        assert "Traceback" not in said
