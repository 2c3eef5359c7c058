"""The API as a process: a start that fails says why in one sentence, an end lets what is asked be answered."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from infra.settings import Settings, environment
from serving import tokens

START = "import socket, sys, uvicorn; uvicorn.run('serving.app:create', factory=True, fd=int(sys.argv[1]))"


def started(settings: Settings, listener: socket.socket) -> "subprocess.Popen[str]":
    """The process, on a socket that is listening already: who calls early waits."""
    return subprocess.Popen(
        [sys.executable, "-c", START, str(listener.fileno())],
        env=dict(os.environ) | environment(settings),
        pass_fds=(listener.fileno(),),
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_server_that_is_away_at_the_start_is_named_and_the_password_is_not(settings: Settings) -> None:
    away = "redis://:hidden@127.0.0.1:1/0"
    for wrong, named in (
        ({"redis": away}, "Redis at 127.0.0.1:1 "),
        ({"kafka": "127.0.0.1:1"}, "Kafka at 127.0.0.1:1 "),
    ):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            process = started(Settings(**settings.model_dump() | wrong), listener)
            _, said = process.communicate(timeout=60)
        assert process.returncode != 0
        assert named in said
        assert "hidden" not in said


def test_sigterm_answers_what_was_asked_and_ends(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = started(settings, listener)
        port = listener.getsockname()[1]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/health/ready")
        assert connection.getresponse().read()
        token = tokens.encode({f"{settings.embedded_log}:shop.events.v1": dict.fromkeys(range(8), 10**12)})
        body = json.dumps({"user_id": "shopper-7f3a", "max_wait_ms": 1000, "min_token": token})
        with ThreadPoolExecutor(1) as pool:
            connection.request("POST", "/v1/recommendations", body, {"Content-Type": "application/json"})
            answer = pool.submit(connection.getresponse)
            other = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            other.request("GET", "/health/live")  # answered: the request before is being served
            assert other.getresponse().status == 200
            other.close()
            process.send_signal(signal.SIGTERM)
            assert answer.result().status == 200
            assert b'"stale":true' in answer.result().read()
        connection.close()
        _, said = process.communicate(timeout=60)
    assert process.returncode in (0, -signal.SIGTERM)
    assert "Traceback" not in said
    assert "shopper-7f3a" not in said
