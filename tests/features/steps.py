"""Steps for tests of the fold: short to write, and as hypothesis makes them."""

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from features.events import EVENT_NAMES
from features.shoppers import Row, State, Step, decode, empty, encode, fold

HOUR = 3_600_000
DAY = 24 * HOUR
T = 1_780_000_000_000
LATENESS = DAY

Line = tuple[str, str | None, int, str | None, str | None]


def line(
    item: str,
    quantity: int = 1,
    price: str | None = None,
    category: str | None = None,
    brand: str | None = None,
) -> Line:
    return item, price, quantity, category, brand


@dataclass
class Story:
    """Steps one after another, one minute apart unless told otherwise."""

    at: int = T
    count: int = 0

    def step(
        self,
        name: str,
        *items: str | Line,
        at: int | None = None,
        live: bool = True,
        session: str | None = None,
        extra: dict[str, str | bool] | None = None,
    ) -> Step:
        self.count += 1
        self.at = self.at + 60_000 if at is None else at
        lines = tuple(line(item) if isinstance(item, str) else item for item in items)
        return Step(self.at, "site", f"e{self.count}", name, live, session, lines, "EUR", extra)


def folded(steps: Sequence[Step], row: Row | None = None, lateness: int = LATENESS) -> Row:
    """All steps at once; the row goes through its packed form."""
    return decode(encode(fold(empty() if row is None else row, steps, lateness).row))


def state_of(*steps: Step) -> State:
    return folded(steps).state


_ids = st.sampled_from(["a", "b", "c", "d", "茶", "e" * 30])
_lines = st.lists(
    st.tuples(
        _ids,
        st.sampled_from([None, "0", "1.50", "0.01", "999999999999"]),
        st.integers(1, 5),
        st.none() | st.sampled_from([f"category {n}" for n in range(14)]),
        st.none() | st.sampled_from(["x", "y"]),
    ),
    max_size=4,
    unique_by=lambda entry: entry[0],
).map(tuple)


def steps_of(times: st.SearchStrategy[int], max_size: int = 25) -> st.SearchStrategy[list[Step]]:
    """Any steps at such times, each with an id of its own."""
    one = st.builds(
        Step,
        at=times,
        source=st.sampled_from(["site", "app"]),
        event_id=st.uuids(version=4).map(str),
        name=st.sampled_from(EVENT_NAMES),
        live=st.booleans(),
        session_id=st.none() | st.sampled_from(["s1", "s2"]),
        lines=_lines,
        currency=st.sampled_from([None, "EUR"]),
        extra=st.none()
        | st.fixed_dictionaries(
            {"locale": st.sampled_from(["de", "en"]), "consent.email": st.booleans()},
            optional={"search_term": st.sampled_from(["tea", "cup"]), "time_zone": st.just("Europe/Berlin")},
        ),
    )
    return st.lists(one, max_size=max_size, unique_by=lambda step: step.event_id)
