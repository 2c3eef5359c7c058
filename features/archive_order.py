"""In which order the logs of the archive were applied: a replay of several logs needs it to give the same rows.

Beside the days lies a folder `order` with one small file for each time that a log began to be applied, or was taken
up again: the log, and for each partition how far the other logs were at that moment. Only one log advances at a time
(a direct load has the namespace for itself), so these entries give back the order, whatever was interrupted. A file
comes into sight whole and is never changed: on a folder of this machine it takes a number that nobody has; elsewhere
nothing says who was first, so its name has a mark of its content, too, and two of one number say the same or stand
side by side.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Final
from uuid import uuid4

import msgspec

from infra.errors import Refused
from infra.places import Place, place_of

FOLDER: Final = "order"
_EMBEDDED: Final = "embedded-"  # such a log ends for good when the next one begins
_LOAD: Final = "load-"
_END: Final = 1 << 62
_ENDING: Final = ".json"
_MARK_BYTES: Final = 6

# The last offset applied, by log.
Fences = Mapping[str, int]


class Begun(msgspec.Struct, frozen=True):
    """A log began to be applied, or was taken up again; `fences` says by partition how far all logs were."""

    log: str
    fences: dict[int, dict[str, int]]


class Window(msgspec.Struct, frozen=True, array_like=True):
    """Offsets of one partition of one log, both ends included."""

    partition: int
    log: str
    first: int
    last: int


class ArchiveOrder:
    """The order of one archive: workers write it, and direct loads."""

    def __init__(self, archive: Place | Path) -> None:
        self._place = place_of(archive) / FOLDER

    def begin(self, log: str, fences: Mapping[int, Fences]) -> None:
        """Note that `log` is applied from here on, unless the last entry says the same already.

        Raises:
            Refused: an entry cannot be read (`order_broken`).
            OSError: the folder cannot be written.
        """
        entry = Begun(log, {partition: dict(of_it) for partition, of_it in fences.items() if of_it})
        files = self._files()
        if files and _same(entry, self._read(files[-1])):
            return
        number, packed = _number(files[-1]) + 1 if files else 1, msgspec.json.encode(entry)
        if self._place.folder is not None:
            _link_next(self._place.folder, number, packed)
        else:
            self._place.put(f"{number:06}-{blake2b(packed, digest_size=_MARK_BYTES).hexdigest()}{_ENDING}", packed)

    def knows(self, log: str) -> bool:
        """Whether an entry says that this log began."""
        return any(entry.log == log for entry in self.entries())

    def entries(self) -> list[Begun]:
        """What was noted, oldest first.

        Raises:
            Refused: an entry cannot be read (`order_broken`).
        """
        return [self._read(path) for path in self._files()]

    def _files(self) -> list[str]:
        return sorted(file.path for file in self._place.files() if file.base_name.endswith(_ENDING))

    def _read(self, path: str) -> Begun:
        with self._place.told(), self._place.open(path) as file:
            raw = file.read()
        try:
            return msgspec.json.decode(raw, type=Begun)
        except msgspec.MsgspecError as error:
            raise Refused(
                f"{path}, which says in what order logs were applied, cannot be read ({error}); put a copy back, or "
                "remove it: the order is then guessed where it is not noted",
                code="order_broken",
            ) from None


def loads_named(entries: Iterable[Begun]) -> dict[tuple[str, int], int]:
    """(load, partition) -> the last offset that was applied of it, as the entries tell: the archive has to hold it."""
    named: dict[tuple[str, int], int] = {}
    for entry in entries:
        for partition, fences in entry.fences.items():
            for log, offset in fences.items():
                if log.startswith(_LOAD):
                    named[log, partition] = max(offset, named.get((log, partition), -1))
    return named


def _number(path: str) -> int:
    return int(path.rpartition("/")[2].removesuffix(_ENDING).partition("-")[0])


def _link_next(folder: Path, number: int, packed: bytes) -> None:
    """Make a file of the next number that is free: another process may just have taken one."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f"{uuid4().hex}.new"  # never one that a crash has left, which may be an entry by now
    with aside.open("xb") as file:
        file.write(packed)
        file.flush()
        os.fsync(file.fileno())
    while True:
        try:
            os.link(aside, folder / f"{number:06}{_ENDING}")
        except FileExistsError:
            number += 1
        else:
            break
    aside.unlink()
    handle = os.open(folder, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def in_order(windows: Sequence[Window], entries: Sequence[Begun], others: Sequence[str]) -> Iterator[Window]:
    """The windows, cut and put into the order in which their records were applied, partition by partition.

    `others` are all logs in the order that is guessed where no entry says better (loads first).
    """
    begun = list(dict.fromkeys(entry.log for entry in entries))
    logs = [log for log in others if log not in begun] + begun
    for partition in sorted({window.partition for window in windows}):
        yield from _of_partition({w.log: w for w in windows if w.partition == partition}, partition, entries, logs)


def _of_partition(
    windows: Mapping[str, Window], partition: int, entries: Sequence[Begun], logs: Sequence[str]
) -> Iterator[Window]:
    done = {log: window.first - 1 for log, window in windows.items()}

    def taken(log: str, through: int) -> Iterator[Window]:
        if log in windows:
            first, last = done[log] + 1, min(through, windows[log].last)
            if first <= last:
                done[log] = last
                yield Window(partition, log, first, last)

    latest = ""
    for number, entry in enumerate(entries):
        fences = dict(entry.fences.get(partition, {}))
        if latest.startswith(_LOAD) and _forgotten(latest, entries[number:]):
            fences[latest] = _END
        if entry.log.startswith(_EMBEDDED):
            fences |= {log: _END for log in logs[: logs.index(entry.log)] if log.startswith(_EMBEDDED)}
        for log in (latest, *logs):
            yield from taken(log, fences.get(log, -1))
        latest = entry.log
    for log in (latest, *logs):
        yield from taken(log, _END)


def _forgotten(load: str, later: Sequence[Begun]) -> bool:
    """Whether a load was over before these entries, though none of them knows of it: Redis came back empty since."""
    known = any(load in of_it for of_it in later[0].fences.values())
    return not known and all(entry.log != load for entry in later)


def _same(one: Begun, other: Begun) -> bool:
    """Whether nothing else has moved between the two."""
    return one.log == other.log and _without(one) == _without(other)


def _without(entry: Begun) -> dict[int, dict[str, int]]:
    others = {p: {log: at for log, at in of_it.items() if log != entry.log} for p, of_it in entry.fences.items()}
    return {partition: of_it for partition, of_it in others.items() if of_it}
