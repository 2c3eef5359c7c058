"""A language model that answers what it is told to: in the process, or on a port of its own."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

Asked = dict[str, Any]
Script = Callable[[Asked], httpx.Response]


def completion(text: str, *, finish: str = "stop", asked: int = 100, answered: int = 50) -> httpx.Response:
    """What a server answers with, when all is well."""
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": asked, "completion_tokens": answered}
    return httpx.Response(200, json={"choices": [{"message": message, "finish_reason": finish}], "usage": usage})


class Scripted(httpx.AsyncBaseTransport):
    """Answers by a script, and keeps what it was asked."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.asked: list[Asked] = []
        self.headers: list[httpx.Headers] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.headers.append(request.headers)
        body = json.loads(await request.aread())
        self.asked.append(body)
        return self._script(body)


def in_turn(*answers: httpx.Response | Exception) -> Script:
    """One after the other; the last for good."""
    left = list(answers)

    def script(_: Asked) -> httpx.Response:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    return script


@contextmanager
def listening(script: Script) -> Iterator[tuple[str, list[Asked]]]:
    """The same on a free port of the loopback: its base URL, and what it was asked so far."""
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(body)
            answer = script(body)
            self.send_response(answer.status_code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
