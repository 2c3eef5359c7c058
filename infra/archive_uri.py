"""`DAOGOU_ARCHIVE`: the URI of a folder of this machine, or of a bucket behind S3's protocol."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from infra.places import Folder, Place, Store, parts_of

_OPTIONS: Final = {"endpoint_override": r"[A-Za-z0-9.\[\]:-]+", "region": r"[a-z0-9-]+", "scheme": r"https?"}
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PART: Final = re.compile(r"(?!\.\.?$)[^\x00-\x1f]+")


class Bounds(NamedTuple):
    """How long a store is waited for: seconds to connect, seconds that a request stands still, attempts of each.

    As they are, a store that answers nothing is given up after a quarter of a minute.
    """

    connect_s: float = 3.0
    still_s: float = 5.0
    attempts: int = 3


BOUNDS: Final = Bounds()


def checked(uri: str) -> str:
    """The URI of an archive, if it is one that can be used; empty: none is named.

    Raises:
        ValueError: it is not; the text says why and holds nothing of the URI.
    """
    if not uri:
        return uri
    try:
        split = urlsplit(uri)
    except ValueError:  # whose text holds what lies before the path
        raise ValueError("neither file:///folder nor s3://bucket/prefix") from None
    if "@" in split.netloc:
        raise ValueError("keys do not belong in it: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    if split.scheme not in ("file", "s3") or split.fragment:
        raise ValueError("neither file:///folder nor s3://bucket/prefix")
    path = unquote(split.path).strip("/")  # as `place` takes it: a written-out %2F parts, too
    if path and not all(map(_PART.fullmatch, path.split("/"))):
        raise ValueError("its path has an empty part, or one that leads elsewhere")
    if split.scheme == "file":
        if split.netloc or split.query or not split.path.strip("/"):
            raise ValueError("file:/// wants an absolute path of this machine and nothing else")
    elif _BUCKET.fullmatch(split.netloc) is None:
        raise ValueError("s3:// wants the name of a bucket")
    _options(split.query)
    return uri


def _options(query: str) -> Mapping[str, str]:
    try:
        given = parse_qsl(query, strict_parsing=True, keep_blank_values=True) if query else []
    except ValueError:
        given = [("", "")]
    found: dict[str, str] = {}
    for name, value in given:
        if name in found:
            raise ValueError("after the ? each option once")
        if name not in _OPTIONS or re.fullmatch(_OPTIONS[name], value) is None:
            raise ValueError("after the ? only endpoint_override=host:port, region=name, scheme=http or https")
        found[name] = value
    return found


def place(uri: str, default: Path, tenant: str, bounds: Bounds = BOUNDS) -> Place:
    """Where the tenant's archive lies. `uri` is a checked one; empty: in the folder `default`."""
    split = urlsplit(uri)
    path = unquote(split.path).strip("/")
    if split.scheme != "s3":
        return Folder((Path("/") / path if uri else default) / tenant)
    options = _options(split.query)

    @cache
    def opener() -> Any:
        from pyarrow import fs

        # Not FileSystem.from_uri: it sets no bounds of time, and asks AWS where the bucket lies.
        return fs.S3FileSystem(
            region=options.get("region"),
            scheme=options.get("scheme"),
            endpoint_override=options.get("endpoint_override"),
            connect_timeout=bounds.connect_s,
            request_timeout=bounds.still_s,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=bounds.attempts),
        )

    root = "/".join((split.netloc, *parts_of(path), tenant))
    return Store(root, opener, f"s3://{root}", split.netloc)
