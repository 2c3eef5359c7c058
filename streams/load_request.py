"""What a load is asked for: whether that fits together, which files it means, and the ids that follow from them."""

from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path

from infra.clock import Clock
from infra.errors import BadInput, NotFound
from infra.settings import Settings
from streams.load_report import instant
from streams.mappings.origin import Origin, content_hash, existing
from streams.mappings.outcomes import Mapping
from streams.mappings.table import MAPPINGS, PACKAGES, files_of, named
from streams.spool import Window


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """What `daogou load` was asked for."""

    source: str | None = None
    mapping: str | None = None
    items: Path | None = None
    direct: bool = False
    live: bool = False
    wait: bool = True
    window: Window = field(default_factory=Window)


@dataclass(frozen=True, slots=True)
class LoadSource:
    """The files of a request, and the ids that follow from them."""

    mapping: Mapping | None
    files: tuple[Path, ...]
    load_id: str

    @classmethod
    def of(cls, request: LoadRequest) -> "LoadSource":
        """The source that a request names.

        Raises:
            NotFound, BadInput: there is no such file or mapping.
        """
        items = () if request.items is None else (existing(request.items),)
        if request.source is None:
            return cls(None, (), f"load-{content_hash('items', items)}")
        mapping = named(request.mapping or request.source)
        files = files_of(request.source, mapping)
        return cls(mapping, files, f"load-{content_hash(f'{mapping.name}/{mapping.version}', files)}")

    def origin(self, settings: Settings, request: LoadRequest, clock: Clock) -> Origin:
        """What every event of the load carries."""
        return Origin(
            files=self.files,
            source=f"load-{self.mapping.name}" if self.mapping else "load",
            tenant=settings.tenant,
            received_at=instant(clock.now_ms()),
            load_id=None if request.live else self.load_id,
        )

    def log(self, request: LoadRequest, settings: Settings, moved_days: int) -> str:
        """The log that a direct load counts in: another one as soon as its events may be others."""
        window = request.window
        parts = (
            settings.tenant,
            settings.partition_count,
            window.since,
            window.until,
            window.limit,
            moved_days,
        )
        items = "" if request.items is None else content_hash("items", (request.items,))
        digest = blake2b(repr((self.load_id, items, *parts)).encode(), digest_size=8)
        return f"load-{digest.hexdigest()}"


def checked(request: LoadRequest) -> LoadRequest:
    """The request, with the mapping that its source is the name of.

    Raises:
        BadInput: it does not fit together.
    """
    window = request.window
    if request.source is None and request.items is not None and request.mapping is not None:
        raise BadInput(
            f"--mapping {request.mapping} says how a SOURCE is read, and there is none; a catalogue needs no mapping",
            path="mapping",
            code="mapping_without_source",
        )
    if request.source is None and request.items is None:
        raise BadInput("nothing to load: give a SOURCE, --items FILE, or both", path="source")
    if request.source is not None and request.mapping is None:
        if request.source not in PACKAGES:
            readable = " | ".join(name for name in MAPPINGS if name not in PACKAGES)
            raise BadInput(
                f"say how {request.source} is read: --mapping {readable}; without one: {', '.join(PACKAGES)}",
                path="mapping",
                code="no_mapping",
            )
        request = replace(request, mapping=request.source)
    if request.live and request.direct:
        raise BadInput("--live needs the worker, --direct goes without: choose one", path="live")
    if window.limit < 0:
        raise BadInput("--limit is 0 (all) or more", path="limit")
    for name, at in (("--from", window.since), ("--to", window.until)):
        if at is not None and at.tzinfo is None:
            raise BadInput(f"{name} needs an offset: 2017-12-01T00:00:00Z", path=name)
    return request


def require_files(request: LoadRequest) -> None:
    """See that mapping and files are there, all that is not told at once, before a server is asked for.

    Raises:
        NotFound, BadInput: one of them is not.
    """
    wrong: list[BadInput] = []
    if request.source is not None:
        try:
            files_of(request.source, named(request.mapping or request.source))
        except BadInput as error:
            wrong.append(error)
            if error.reason == "unknown_mapping" and not Path(request.source).is_file():
                wrong.append(NotFound(f"there is no file {request.source} either"))
    if request.items is not None:
        try:
            existing(request.items)
        except BadInput as error:
            wrong.append(error)
    if len(wrong) == 1:
        raise wrong[0]
    if wrong:
        raise BadInput("; ".join(error.message for error in wrong), path=wrong[0].path, code=wrong[0].reason)
