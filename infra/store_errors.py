"""What an object store says, as errors of ours: by the words of the AWS library, which is all that PyArrow hands on.

Its texts are not repeated: they may hold more than we would say.
"""

import re
from typing import Final

from infra.errors import ArchiveAway, Refused

SETTING: Final = "DAOGOU_ARCHIVE"

_SAID: Final = re.compile(r"AWS Error (?P<word>[A-Z_0-9]+)(?: \(HTTP status (?P<status>\d+)\))?")
_UNTOLD: Final = re.compile(r"ExceptionName: (\w+)")
_AWAY: Final = frozenset(
    {"NETWORK_CONNECTION", "REQUEST_TIMEOUT", "SLOW_DOWN", "SERVICE_UNAVAILABLE", "INTERNAL_FAILURE", "THROTTLING"}
)
_DENIED: Final = frozenset(
    {
        "ACCESS_DENIED",
        "INVALID_ACCESS_KEY_ID",
        "INVALID_CLIENT_TOKEN_ID",
        "INVALID_SIGNATURE",
        "MISSING_AUTHENTICATION_TOKEN",
        "SIGNATURE_DOES_NOT_MATCH",
        "UNRECOGNIZED_CLIENT",
        "ExpiredToken",
        "InvalidToken",
    }
)
_SERVER_ERROR: Final = 500


def ours(said: str, shown: str) -> ArchiveAway | Refused | None:
    """The error that a text of the AWS library means; None: it is none of its.

    `shown` is what people call the place.
    """
    found = _SAID.search(said)
    if found is None:
        return None
    word, status = found["word"], int(found["status"] or 0)
    if word == "UNKNOWN" and (untold := _UNTOLD.search(said)):
        word = untold[1]
    if word in _AWAY or status >= _SERVER_ERROR:
        return ArchiveAway(
            f"{SETTING}: {shown} does not answer ({word}); see that the store runs and that its address is right"
        )
    if word == "NO_SUCH_BUCKET":
        return no_bucket(shown)
    if word in _DENIED:
        return Refused(
            f"{SETTING}: {shown} may not be used ({word}); give AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, if there "
            "is one, AWS_SESSION_TOKEN of somebody who may list, read and write there",
            code="archive_denied",
        )
    return Refused(
        f"{SETTING}: {shown} refuses ({word}); see that bucket, region (AWS_REGION) and address are right",
        code="archive_refused",
    )


def no_bucket(shown: str) -> Refused:
    """The bucket must be there already."""
    return Refused(
        f"{SETTING}: the bucket of {shown} does not exist; make it, or name another one", code="archive_no_bucket"
    )
