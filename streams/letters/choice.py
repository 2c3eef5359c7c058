"""Which of the wanted letters a command is for: those that are open, or that it names itself."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from infra.errors import BadInput
from infra.topics import CATALOG
from streams.letters.census import LeftOut
from streams.letters.lateness import Old, is_news, never
from streams.letters.letter import Letter, Wanted
from streams.letters.marks import Mark, told
from streams.letters.requeue import refusal
from streams.letters.words import HOPELESS, KNOWN


@dataclass(slots=True)
class Choice:
    """The ids of the letters to work on, how many of them are old and how many tell of changes of items, those that
    there were (ids and places), their reasons, why others were left out."""

    ids: set[str] = field(default_factory=set)
    old: int = 0
    news: int = 0
    found: set[str] = field(default_factory=set)
    reasons: set[str] = field(default_factory=set)
    left_out: LeftOut = field(default_factory=LeftOut)

    def wanted(self) -> Wanted:
        """To read them again with their bytes."""
        return Wanted(ids=frozenset(self.ids))


def chosen(what: str, letters: Iterable[Letter], wanted: Wanted, marks: Mapping[str, Mark], old: Old = never) -> Choice:
    """Go through the wanted letters; `what` is `requeue` or `discard`."""
    choice = Choice()
    for letter in letters:
        choice.found |= {letter.id, letter.place}
        choice.reasons.add(letter.reason)
        why = _against(what, letter, marks.get(letter.id), named=wanted.names(letter))
        if why is None:
            choice.ids.add(letter.id)
            choice.old += old(letter)
            choice.news += is_news(letter)
        else:
            choice.left_out.add(letter, why)
    return choice


def _against(what: str, letter: Letter, mark: Mark | None, *, named: bool) -> str | None:
    if what == "discard":
        return None if mark is None else told(mark)
    if mark is not None and mark.state == "discarded" and not named:
        return f"{told(mark)}; name it to requeue it all the same"
    if letter.topic == CATALOG and not named:
        return "holds a whole facet of an item, which may be older than what is known now; name it if it is not"
    if letter.reason in HOPELESS and not named and mark is None:
        return "no version can read it: discard it, or name it to requeue it all the same"
    return refusal(letter, mark)


def refuse_unknown(asked: Iterable[str], there: Iterable[str]) -> None:
    """See that each reason that is asked for is one.

    Raises:
        BadInput: one is in no letter, nor among those that are usual (`unknown_reason`).
    """
    letters = set(there)
    unknown = sorted(set(asked) - letters - KNOWN)
    if unknown:
        found = f"letters here have {', '.join(sorted(letters))}; " if letters else ""
        raise BadInput(
            f"--reason {', '.join(unknown)}: no letter has it; {found}usual ones are {', '.join(sorted(KNOWN))}",
            path="--reason",
            code="unknown_reason",
        )
