"""The types of fields that several records share: ids, keys and times, with their bounds."""

from datetime import datetime
from typing import Annotated, Final

from msgspec import Meta

MAX_ID: Final = 256

Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID)]
Time = Annotated[datetime, Meta(tz=True)]
Key = Annotated[str, Meta(min_length=1, max_length=64)]
