"""Whether the archive holds a catalogue: an API that knows of no item asks, for then Redis may have been lost."""

from collections.abc import Callable

from infra.settings import Settings


def archived(settings: Settings) -> Callable[[], bool]:
    """What says whether there is any file of the catalogue in the archive; it blocks, and raises ArchiveAway, Refused
    or OSError where it cannot be asked.
    """

    def ask() -> bool:
        from features.catalog_archive import FOLDER  # pyarrow comes in with it: an API in order does without

        files = (settings.archive_at / FOLDER).inside(lambda name: name.startswith("day="))
        return next(iter(files), None) is not None

    return ask
