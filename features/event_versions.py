"""Versions of the events on the log, and the way from an older one to the present.

Within a version changes only add: an optional field, a name of an event, a wider bound. Such a change has no
number: an older worker leaves a field that it does not know where it is, in the bytes of the log and of the
archive, and a replay by a newer one reads it. Any other change is a new version, with a pure function that
brings the one before it up; whoever meets a version that it does not know puts the record to the dead
letters (`unknown_version`), from where it is requeued after the upgrade. `docs/schemas/` tells it to producers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from infra.errors import BadInput

Fields = dict[str, Any]
Upcaster = Callable[[Fields], Fields]

SCHEMA_VERSION: Final = 1
# What names no version is of this one, for ever: the log is full of such records.
UNNAMED_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Versions:
    """The present version, and for each older one that can be read the step to the next."""

    present: int
    upcasters: Mapping[int, Upcaster] = field(default_factory=dict)

    def up(self, fields: Fields) -> Fields:
        """Decoded JSON of an event, step by step, in the form of the present version; the given one is kept.

        Raises:
            BadInput: `unknown_version`, of one that is newer, or that no step leads up from; `wrong_shape`,
                where it is not what its version says.
        """
        version = fields.get("schema_version", UNNAMED_VERSION)
        if type(version) is not int or not self.knows(version):
            raise self.unknown()
        for step in range(version, self.present):
            try:
                fields = self.upcasters[step](dict(fields)) | {"schema_version": step + 1}
            except Exception as error:  # whatever the step stumbles over, the record does not stop those behind it
                said = f"This is no event of schema_version {step}: {type(error).__name__}."
                raise BadInput(said, path="schema_version", code="wrong_shape") from None
        return fields

    def knows(self, version: int) -> bool:
        """Whether events of that version can be read."""
        return version <= self.present and all(step in self.upcasters for step in range(version, self.present))

    def unknown(self) -> BadInput:
        """The refusal of a version that cannot be read."""
        oldest = self.present
        while oldest - 1 in self.upcasters:
            oldest -= 1
        read = str(self.present) if oldest == self.present else f"{oldest} to {self.present}"
        said = f"This version reads events of schema_version {read}."
        return BadInput(said, path="schema_version", code="unknown_version")


# None is older than the first release's. An entry `n: function` reads version n as n + 1.
VERSIONS: Final = Versions(SCHEMA_VERSION)
