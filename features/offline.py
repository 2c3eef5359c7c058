"""The offline side of the features: the log of their past, and training frames joined from it by Feast.

This is the one door to feast. Its import takes seconds, replaces warning filters and sets environment variables; all
of that is undone here, and nothing of feast is imported before it is asked for.
"""

import json
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from string import Template
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import yaml
from google.protobuf.message import DecodeError

from features.aggregates import SERVICES, VIEWS, ValueType, View
from features.feature_log import CREATED_AT, EVENT_AT, folder_of
from infra.errors import Refused, SettingWrong
from infra.keys import LIVE, feast_project

_YAML: Final = Path(__file__).parent / "repo" / "feature_store.yaml"


@dataclass(frozen=True, slots=True)
class StoreAt:
    """Where a Feast store lies: the folder of the offline log, the registry file, and Redis for online reads.

    `redis` is a URL; frames for training need none.
    """

    offline_dir: Path
    registry: Path
    redis: str = "redis://localhost:6379/0"
    project: str = feast_project(LIVE)


@dataclass(frozen=True, slots=True)
class Declared:
    """Feast's objects, in the order of the tables that they are derived from."""

    entities: tuple[Any, ...]
    views: tuple[Any, ...]
    services: tuple[Any, ...]


def declare(offline_dir: Path) -> Declared:
    """Feast's entities, views and services, derived from `features.aggregates`."""
    return declare_views(tuple(VIEWS.values()), offline_dir)


def declare_views(views: Sequence[View], offline_dir: Path) -> Declared:
    """The same for a choice of views; services with a view outside of it are left out."""
    with feast_imported():
        from feast import Entity, FeatureService, FeatureView, Field, FileSource
        from feast.data_format import ParquetFormat
        from feast.value_type import ValueType as EntityType
    names = dict.fromkeys(view.entity for view in views)
    entities = {name: Entity(name=name, join_keys=[name], value_type=EntityType.STRING) for name in names}
    declared = {
        view.name: FeatureView(
            name=view.name,
            entities=[entities[view.entity]],
            schema=[Field(name=name, dtype=_feast_type(kind)) for name, kind in view.fields.items()],
            source=FileSource(
                name=f"{view.name}_log",
                path=str(folder_of(offline_dir, view)),
                file_format=ParquetFormat(),  # a folder's name does not say it
                timestamp_field=EVENT_AT,
                created_timestamp_column=CREATED_AT,
            ),
            ttl=None,
        )
        for view in views
    }
    services = (
        FeatureService(name=name, features=[declared[view.name] for view in parts])
        for name, parts in SERVICES.items()
        if all(view.name in declared for view in parts)
    )
    return Declared(tuple(entities.values()), tuple(declared.values()), tuple(services))


def open_store(at: StoreAt, views: Sequence[View] = tuple(VIEWS.values())) -> Any:
    """A Feast `FeatureStore` with the definitions applied; touches the registry file alone, no network.

    Raises:
        Refused: the registry could not be written whole (`registry_unwritten`).
    """
    with feast_imported():
        from feast import FeatureStore, RepoConfig
    at.registry.parent.mkdir(parents=True, exist_ok=True)
    if _registered(at.registry) is None:  # by a disk that was full then; all that it held follows from the definitions
        at.registry.unlink()
    filled = Template(_YAML.read_text()).substitute(
        DAOGOU_FEAST_PROJECT=at.project,
        DAOGOU_FEAST_REGISTRY=at.registry,
        DAOGOU_FEAST_REDIS=feast_redis(at.redis),
    )
    store = FeatureStore(config=RepoConfig(repo_path=at.registry.parent, **yaml.safe_load(filled)))
    declared = declare_views(views, at.offline_dir)
    _apply(store, [*declared.entities, *declared.views, *declared.services], at.registry)
    if not {view.name for view in views} <= (_registered(at.registry) or set()):
        raise _unwritten(at.registry, "it ends too early")
    return store


def _apply(store: Any, definitions: list[Any], registry: Path) -> None:
    try:
        store.apply(definitions)
    except OSError as error:
        raise _unwritten(registry, error.strerror or type(error).__name__) from error
    except DecodeError as error:  # it reads what it has just written
        raise _unwritten(registry, "it ends too early") from error


def _registered(registry: Path) -> set[str] | None:
    """The names of the views that a registry file holds; None: it is half a file. Feast writes what there is room for,
    and does not look how much that was.
    """
    if not registry.exists():
        return set()
    with feast_imported():
        from feast.protos.feast.core.Registry_pb2 import Registry
    try:
        found: Any = Registry.FromString(registry.read_bytes())
    except DecodeError:
        return None
    return {view.spec.name for view in found.feature_views}


def _unwritten(registry: Path, why: str) -> Refused:
    return Refused(
        f"Feast's registry, {registry}, could not be written ({why}): see that the disk has room and that the folder "
        "may be written, then do the same again",
        code="registry_unwritten",
    )


def feast_redis(url: str) -> str:
    """A Redis URL in Feast's form, `host:port,db=0[,username=…][,password=…][,ssl=true]`.

    Raises:
        SettingWrong: the password holds a comma, which Feast's form has no way to write.
    """
    parts = urlsplit(url)
    options = {"db": parts.path.strip("/") or "0"}
    if parts.username:
        options["username"] = json.dumps(unquote(parts.username))
    if parts.password:
        options["password"] = json.dumps(unquote(parts.password))  # quoted: Feast reads bare digits as a number
    if parts.scheme == "rediss":
        options["ssl"] = "true"
    if any("," in value for value in options.values()):
        raise SettingWrong("DAOGOU_REDIS = (secret): Feast cannot use a user or password with a comma.", path="redis")
    pairs = [f"{name}={value}" for name, value in options.items()]
    return ",".join([f"{parts.hostname}:{parts.port or 6379}", *pairs])


def _feast_type(value_type: ValueType) -> Any:
    from feast import types

    scalar = getattr(types, value_type.kind.name)
    return types.Array(scalar) if value_type.many else scalar


@contextmanager
def joining() -> Iterator[None]:
    """Feast may join inside; the DuckDB connection that its joins share is let go of afterwards.

    Kept, it holds on to every file that was joined, and DuckDB complains of it when the process ends.
    """
    with feast_imported():
        try:
            yield
        finally:
            import_module("ibis").options.default_backend = None


@contextmanager
def feast_imported() -> Iterator[None]:
    """Feast may be imported inside; what its import changes elsewhere is undone."""
    # feast.metrics points prometheus_client at a folder of files, which it looks up once, at its own import.
    import prometheus_client  # noqa: F401

    names = ("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR")
    before = {name: os.environ.get(name) for name in names}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
