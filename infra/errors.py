"""Every error of the project, drawn as one tree.

    DaogouError
    ├── BadInput            what was sent is wrong; never retried      422
    │   ├── Undecodable     not the format it claims to be             400
    │   ├── NotFound        what was named does not exist              404
    │   ├── Conflict        something else holds it, or it is old      409
    │   ├── TooLarge        over a stated bound                        413
    │   └── SettingWrong    a setting has a value that is not allowed
    ├── Refused             not while things stand as they do; says what to do
    │   ├── NotEmbedded     the embedded defaults cannot do this; names the setting that can
    │   ├── ArtifactBroken  a model artifact is incomplete or altered
    │   ├── LlmRefused      the language model's server says no; names the setting
    │   └── BudgetSpent     asking a language model again would pass the budget
    ├── Unavailable         a service is away; retried, 503
    │   ├── KafkaAway
    │   ├── RedisAway
    │   ├── ArchiveAway
    │   ├── RankLost        a process of a training in several has ended
    │   └── LlmAway         no language model answers, not in time, or it has too much to do
    ├── AnswerUnusable      what a language model answered is not what was asked for
    └── OwnershipLost       this worker must end: somebody else owns the partition, or Redis went back
        ├── Fenced
        └── WentBack

The type decides the retry. Each message says what happened and what to do next; none holds a secret or a
shopper's data.
"""

from typing import ClassVar


class DaogouError(Exception):
    """The root: `code` is stable and snake case, `path` names the field, `retryable` says whether to try again."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, path: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.reason = code or self.code


class BadInput(DaogouError):
    """What was sent does not validate. `reason` is the stable code of the exact rule that it broke."""

    code = "invalid"
    status = 422


class Undecodable(BadInput):
    """The bytes are not what they claim to be (JSON, UTF-8, CSV)."""

    code = "not_json"
    status = 400


class NotFound(BadInput):
    """What was named does not exist."""

    code = "not_found"
    status = 404


class Conflict(BadInput):
    """Somebody else holds it, or the version that the change was made from is old."""

    code = "conflict"
    status = 409


class TooLarge(BadInput):
    """Over a bound that the message names."""

    code = "too_large"
    status = 413


class SettingWrong(BadInput):
    """A setting has a value that is not allowed; the message names setting, value and what is allowed."""

    code = "setting_wrong"


class Refused(DaogouError):
    """Not possible while things stand as they do; the message says what to do about it."""

    code = "refused"
    status = 409


class NotEmbedded(Refused):
    """The embedded defaults cannot do this; the message names the setting that can."""

    code = "not_embedded"


class ArtifactBroken(Refused):
    """A model artifact is incomplete, altered, or made by another version."""

    code = "artifact_broken"


class LlmRefused(Refused):
    """The language model's server says no: key, model, quota, or this one question (`llm_question_refused`)."""

    code = "llm_refused"


class BudgetSpent(Refused):
    """Asking a language model once more could pass the budget; nothing was asked."""

    code = "budget_spent"


class Unavailable(DaogouError):
    """A service that we depend on is away; the same call may succeed later."""

    code = "unavailable"
    status = 503
    retryable = True


class KafkaAway(Unavailable):
    """No broker answers, or it did not acknowledge in time."""

    code = "kafka_away"


class RedisAway(Unavailable):
    """Redis does not answer."""

    code = "redis_away"


class ArchiveAway(Unavailable):
    """The store of the archive does not answer."""

    code = "archive_away"


class RankLost(Unavailable):
    """A process of a training in several has ended, or does not answer."""

    code = "rank_lost"


class LlmAway(Unavailable):
    """No language model answers (`llm_away`), not in time (`llm_slow`), or it has too much to do (`llm_busy`)."""

    code = "llm_away"


class AnswerUnusable(DaogouError):
    """A language model answered what was not asked for; `reason` says how: cut, no JSON, another shape, declined."""

    code = "answer_unusable"
    status = 502


class OwnershipLost(DaogouError):
    """This worker may no longer write: it ends itself at once and is started again."""

    code = "ownership_lost"


class Fenced(OwnershipLost):
    """Another worker has taken the partition (a higher epoch), or the live namespace moved."""

    code = "fenced"


class WentBack(OwnershipLost):
    """The fence in Redis is not the one that this worker wrote last: Redis came back from the past."""

    code = "went_back"
