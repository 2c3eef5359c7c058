"""A real Apache Kafka on loopback, for proofs and trials: one node or three, each broker and controller.

    python -m tests.kafka start [--nodes 3] [--folder .tools/kafka]   # prints the bootstrap servers; --told: more
    python -m tests.kafka kill NODE                                   # SIGKILL, like a power cut
    python -m tests.kafka restart NODE                                # on its old data and port
    python -m tests.kafka stop [--wipe]

Java 17 and Maven are needed. The jars come once from Maven Central, into .tools/kafka whatever the folder; ports and
processes are kept in state.json, so that each command may be a process of its own.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Final

import msgspec
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

VERSION: Final = "4.1.0"
FOLDER: Final = Path(".tools/kafka")
READY_WITHIN_S: Final = 90.0
END_WITHIN_S: Final = 20.0
POLL_S: Final = 0.05

_POM = f"""<project><modelVersion>4.0.0</modelVersion>
<groupId>daogou</groupId><artifactId>kafka-for-tests</artifactId><version>1</version><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
</dependencies></project>"""
# A short life wants a quick start: the first compiler only, and a small heap.
_JVM = (
    "-Xmx512m",
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)


class Node(msgspec.Struct):
    """One Java process; `born` (its start time) tells it from a later process with the same number."""

    port: int
    controller: int
    pid: int = 0
    born: str = ""


class State(msgspec.Struct):
    """What state.json holds."""

    cluster: str
    nodes: dict[str, Node]


class Cluster:
    """The nodes whose data and state lie in `folder`."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder.resolve()
        self._jars = FOLDER.resolve() / f"jars-{VERSION}"
        self._file = self._folder / "state.json"
        self._state = msgspec.json.decode(self._file.read_bytes(), type=State) if self._file.exists() else None

    @property
    def bootstrap(self) -> str:
        """The brokers' addresses; empty before the first start."""
        nodes = self._state.nodes.values() if self._state else ()
        return ",".join(f"127.0.0.1:{node.port}" for node in nodes)

    @property
    def names(self) -> list[str]:
        """The nodes, as `kill` and `restart` call them."""
        return list(self._nodes())

    def in_step(self) -> bool:
        """Whether every replica of every partition has all that its leader has: one node may be killed then."""
        client = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        try:
            listed = client.list_topics(timeout=1.0)
        except KafkaException:
            return False
        partitions = [partition for topic in listed.topics.values() for partition in topic.partitions.values()]
        return len(listed.brokers) == len(self._nodes()) and all(
            partition.leader >= 0 and len(partition.isrs) == len(partition.replicas) for partition in partitions
        )

    def start(self, nodes: int = 1) -> str:
        """Start all nodes (a cluster that was stopped keeps its number of them); the bootstrap servers."""
        self._fetch()
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._state is None:
            self._format(nodes)
        for name in self._nodes():
            self.restart(name, wait=False)
        self._wait()
        return self.bootstrap

    def restart(self, name: str, *, wait: bool = True) -> None:
        """Start a node that does not run, on its old data and ports."""
        node = self._nodes()[name]
        if not _runs(node):
            with (self._folder / f"node{name}.log").open("ab") as log:
                process = self._java("kafka.Kafka", str(self._folder / f"node{name}.properties"), output=log.fileno())
            node.pid, node.born = process.pid, _born(process.pid)
            self._save()
        if wait:
            self._wait()

    def kill(self, name: str) -> None:
        """SIGKILL one node."""
        self._end(self._nodes()[name], signal.SIGKILL)

    def stop(self, *, wipe: bool = False) -> int:
        """End all nodes, how many ran; `wipe` deletes their data, the jars stay."""
        ran = sum(map(_runs, self._nodes().values())) if self._state else 0
        for node in self._nodes().values() if self._state else ():
            # The last of several would wait for a majority of controllers that is gone.
            self._end(node, signal.SIGTERM if len(self._nodes()) == 1 else signal.SIGKILL)
        if wipe:
            for path in [*self._folder.glob("node*"), self._file]:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            self._state = None
        return ran

    def _fetch(self) -> None:
        for tool in ("java",) if self._jars.exists() else ("java", "mvn"):
            if shutil.which(tool) is None:
                raise SystemExit(f"a real Kafka needs {tool}, which is not on the PATH (Java 17 and Maven)")
        if self._jars.exists():
            return
        self._jars.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._jars.parent) as work:
            Path(work, "pom.xml").write_text(_POM)
            target = Path(work, "jars")
            maven = ["mvn", "-q", "-B", "-Dstyle.color=never", "-f", f"{work}/pom.xml", "dependency:copy-dependencies"]
            # Its colour codes are no part of what this prints: the bootstrap servers alone.
            output = [f"-DoutputDirectory={target}", "-DincludeScope=runtime"]
            subprocess.run([*maven, *output], check=True, stdout=sys.stderr)
            target.rename(self._jars)

    def _format(self, count: int) -> None:
        ports = _free_ports(2 * count)
        # A leading "-" would read as an option of the format tool.
        cluster = "D" + urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
        names = [str(i + 1) for i in range(count)]
        self._state = State(cluster, {n: Node(ports[i], ports[count + i]) for i, n in enumerate(names)})
        for name in names:
            file = self._folder / f"node{name}.properties"
            file.write_text("".join(f"{key}={value}\n" for key, value in self._properties(name).items()))
            tool = self._java(
                "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(file), output=subprocess.DEVNULL
            )
            if tool.wait():
                raise SystemExit(f"the log folder of node {name} could not be formatted")
        self._save()

    def _properties(self, name: str) -> dict[str, str]:
        nodes = self._nodes()
        node, copies = nodes[name], str(min(3, len(nodes)))
        in_step = "2" if len(nodes) >= 3 else "1"
        return {
            "process.roles": "broker,controller",
            "node.id": name,
            "controller.quorum.voters": ",".join(f"{n}@127.0.0.1:{one.controller}" for n, one in nodes.items()),
            "listeners": f"PLAINTEXT://127.0.0.1:{node.port},CONTROLLER://127.0.0.1:{node.controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{node.port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self._folder / f"node{name}"),
            "auto.create.topics.enable": "false",  # a mistyped name must fail, not appear
            "default.replication.factor": copies,
            "min.insync.replicas": in_step,
            # One node could not make the internal topics with the defaults, and consumer groups would hang.
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": in_step,
            "group.initial.rebalance.delay.ms": "0",
            # A killed node is noticed within seconds.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            "controller.quorum.fetch.timeout.ms": "1000",
            "controller.quorum.election.timeout.ms": "500",
        }

    def _java(self, *arguments: str, output: int) -> "subprocess.Popen[bytes]":
        command = ["java", *_JVM, "-cp", f"{self._jars}/*", *arguments]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)

    def _wait(self) -> None:
        """Until every node that runs has joined: an open port alone says little."""
        until = time.monotonic() + READY_WITHIN_S
        wanted = {int(name) for name, node in self._nodes().items() if _runs(node)}
        client = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        while True:
            try:
                if set(client.list_topics(timeout=1.0).brokers) >= wanted:
                    return
            except KafkaException:
                pass  # not yet
            ended = [name for name, node in self._nodes().items() if int(name) in wanted and not _runs(node)]
            if ended or time.monotonic() > until:
                raise SystemExit(f"Kafka did not come up; see {self._folder}/node{(ended or ['*'])[0]}.log")
            time.sleep(POLL_S)

    def _end(self, node: Node, with_signal: signal.Signals) -> None:
        for one in (with_signal, signal.SIGKILL):
            if _runs(node):
                os.kill(node.pid, one)
            until = time.monotonic() + END_WITHIN_S
            while _runs(node) and time.monotonic() < until:
                time.sleep(POLL_S)

    def _nodes(self) -> dict[str, Node]:
        if self._state is None:
            raise SystemExit(f"no Kafka in {self._folder}; start one first")
        return self._state.nodes

    def _save(self) -> None:
        new = self._file.with_suffix(".new")
        new.write_bytes(msgspec.json.format(msgspec.json.encode(self._state)))
        new.replace(self._file)


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]  # held together, so all differ
    ports = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return ports


def _born(pid: int) -> str:
    """A process's start time in ticks; empty when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def _runs(node: Node) -> bool:
    return bool(node.pid and node.born) and _born(node.pid) == node.born


def _say_stopped(ran: int, folder: Path, *, wiped: bool) -> None:
    what = f"stopped {ran} {'node' if ran == 1 else 'nodes'}" if ran else "nothing ran"
    print(f"{what} of {folder}; " + ("its data are deleted, the jars stay" if wiped else "its data stay"))


def main() -> None:
    """The commands above."""
    parser = argparse.ArgumentParser(description="A real Apache Kafka on loopback.")
    parser.add_argument("command", choices=("start", "stop", "kill", "restart"))
    parser.add_argument("node", nargs="?", default="1")
    parser.add_argument("--nodes", type=int, choices=(1, 3), default=1)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--wipe", action="store_true", help="stop: delete the data, too")
    parser.add_argument("--told", action="store_true", help="start: as a line for the shell, with what is where")
    given = parser.parse_args()
    cluster = Cluster(given.folder)
    if given.command == "start":
        servers = cluster.start(given.nodes)
        print(f"export DAOGOU_KAFKA={servers}" if given.told else servers)
        if given.told:
            print(f"# its data and logs are in {given.folder.resolve()}")
            print('# stop it: make kafka-stop (ARGS="--wipe" deletes the data, too)')
    elif given.command == "stop":
        _say_stopped(cluster.stop(wipe=given.wipe), given.folder.resolve(), wiped=given.wipe)
    elif given.command == "kill":
        cluster.kill(given.node)
    else:
        cluster.restart(given.node)


if __name__ == "__main__":
    main()
