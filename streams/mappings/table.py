"""The closed table of mappings, by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from infra.errors import BadInput
from streams.mappings import completejourney
from streams.mappings.completejourney import COMPLETEJOURNEY
from streams.mappings.jsonlines import JSONLINES
from streams.mappings.online_retail import ONLINE_RETAIL
from streams.mappings.origin import existing
from streams.mappings.outcomes import Mapping
from streams.mappings.rees46 import REES46
from streams.mappings.taobao import TAOBAO

MAPPINGS: Final[dict[str, Mapping]] = {
    mapping.name: mapping for mapping in (COMPLETEJOURNEY, ONLINE_RETAIL, TAOBAO, REES46, JSONLINES)
}
# Sources that are installed packages, by the word that names them.
PACKAGES: Final[dict[str, Callable[[], tuple[Path, ...]]]] = {COMPLETEJOURNEY.name: completejourney.files}


def named(name: str) -> Mapping:
    """The mapping of that name; an underscore is as good as a hyphen.

    Raises:
        BadInput: there is none.
    """
    mapping = MAPPINGS.get(name.strip().lower().replace("_", "-"))
    if mapping is None:
        raise BadInput(
            f"there is no mapping {name!r}; allowed: {', '.join(MAPPINGS)}",
            path="mapping",
            code="unknown_mapping",
        )
    return mapping


def files_of(source: str, mapping: Mapping) -> tuple[Path, ...]:
    """The files behind a source.

    Raises:
        NotFound: the file is not there, the package not installed.
        BadInput: the mapping reads a package, and the source is another.
    """
    if mapping.name not in PACKAGES:
        return (existing(Path(source)),)
    if source != mapping.name:
        raise BadInput(f"the mapping {mapping.name} reads the source {mapping.name!r} alone", path="source")
    return PACKAGES[mapping.name]()
