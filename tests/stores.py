"""A server of S3's protocol on loopback, with a bucket for each test.

What the server keeps is in its process's memory. `python -m tests.stores` runs one until it is ended.
"""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen
from uuid import uuid4

import boto3
import pytest
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from infra.archive_uri import Bounds, checked, place
from infra.places import Place

KEYS = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "not-to-be-seen",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_REGION": "us-east-1",
}
BUCKET = "daogou-tests"
QUICK = Bounds(connect_s=1.0, still_s=2.0, attempts=1)


class Server:
    """A server that runs in a thread; stopped and started again on its port it still has what it had."""

    def __init__(self, port: int = 0) -> None:
        self._port = port
        logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
        self.start()

    def start(self) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self._port, verbose=False)
        self._server.start()
        _, self._port = self._server.get_host_and_port()

    def stop(self) -> None:
        """End; whoever knocks is turned away."""
        listening = self._server._server  # which its own stop leaves open
        self._server.stop()
        if listening is not None:
            listening.server_close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def make(self, bucket: str = "") -> str:
        """Make a bucket, of a name that nobody has if none is given."""
        bucket = bucket or f"t-{uuid4().hex}"
        self.client().create_bucket(Bucket=bucket)
        return bucket

    def client(self) -> Any:
        """A client that is not PyArrow's."""
        return boto3.client(
            "s3",
            endpoint_url=f"http://{self.address}",
            region_name=KEYS["AWS_REGION"],
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        )

    def refuse_keys(self) -> None:
        """From now on: the keys of tests are nobody's. It holds for all servers of this process."""
        self._take(b"0")

    def take_any_keys(self) -> None:
        self._take(b"inf")

    def _take(self, requests: bytes) -> None:
        asked = Request(f"http://{self.address}/moto-api/reset-auth", requests, {"Content-Type": "text/plain"})
        with urlopen(asked) as answer:
            answer.read()

    def uri(self, bucket: str, prefix: str = "shop") -> str:
        return checked(f"s3://{bucket}/{prefix}?endpoint_override={self.address}&scheme=http")

    def place(self, bucket: str = "", bounds: Bounds = QUICK) -> Place:
        """Where an archive can lie, in a bucket of its own if none is given."""
        return place(self.uri(bucket or self.make()), Path("/nowhere"), "default", bounds)


@contextmanager
def running() -> Iterator[Server]:
    """A server, and the keys for it in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        server = Server()
        yield server
        server.stop()


if __name__ == "__main__":
    server = Server(int(os.environ.get("PORT", "0")))
    server.make(BUCKET)
    print(server.uri(BUCKET), flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    server.stop()
