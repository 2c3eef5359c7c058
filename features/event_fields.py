"""The types of fields that several records share: ids, keys, times and numbers, with their bounds."""

from datetime import datetime
from typing import Annotated, Final

from msgspec import Meta

MAX_ID: Final = 256

Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID)]
Time = Annotated[datetime, Meta(tz=True)]
Key = Annotated[str, Meta(min_length=1, max_length=64)]
Tenant = Annotated[str, Meta(pattern=r"\A[a-z0-9_-]{1,40}\Z")]
MAX_PIECES: Final = 10**12
MAX_OFFSET: Final = 2**63 - 1
# Pieces in stock, below 0 where more were sold than there were; msgpack, and so the items in Redis, end at 64 bits.
Pieces = Annotated[int, Meta(ge=-MAX_PIECES, le=MAX_PIECES)]
