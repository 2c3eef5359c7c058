"""Settings over HTTP, with an operator key: what is in force, and changes that take effect without a restart."""

from typing import Final

import msgspec

from infra.errors import BadInput
from serving.operations import Call, Operation, query_of
from serving.setting_kinds import MAX_ID
from serving.settings_log import Setting, SettingWritten, ShopSettings

_PATH: Final = "/v1/settings/{kind}/{id}"


class SettingQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`validate_only`: check the value and change nothing."""

    validate_only: bool = False


class SettingList(msgspec.Struct, frozen=True):
    """Everything of a kind that is in force."""

    settings: list[Setting]


class SettingHandlers:
    """One method per operation."""

    def __init__(self, settings: ShopSettings) -> None:
        self._settings = settings

    async def get(self, call: Call) -> Setting:
        """What is in force."""
        return self._settings.get(*_named(call))

    async def all_of(self, call: Call) -> SettingList:
        """Everything of a kind."""
        return SettingList(self._settings.all_of(call.path("kind")))

    async def put(self, call: Call) -> SettingWritten:
        """Change it."""
        kind, setting_id = _named(call)
        only = query_of(call, SettingQuery).validate_only
        return await self._settings.put(kind, setting_id, call.raw, call.caller, validate_only=only)

    async def remove(self, call: Call) -> SettingWritten:
        """Take it back."""
        return await self._settings.remove(*_named(call))


def _named(call: Call) -> tuple[str, str]:
    kind, setting_id = call.path("kind"), call.path("id")
    if not 1 <= len(setting_id) <= MAX_ID or not setting_id.isprintable():
        raise BadInput(f"The id of a setting has 1 to {MAX_ID} printable characters.", path="id", code="wrong_form")
    return kind, setting_id


def operations(settings: ShopSettings) -> list[Operation]:
    """The rows of the table."""
    do = SettingHandlers(settings)
    kinds = settings.kinds.values()
    return [
        Operation(
            "GET",
            _PATH,
            "A setting that is in force.",
            do.get,
            Setting,
            access="operator",
            refusals=(404,),
            value_one_of=tuple(kind.shown_as or kind.type for kind in kinds),
        ),
        Operation(
            "PUT",
            _PATH,
            "Change a setting: it is checked, put on the log, and takes effect everywhere without a restart.",
            do.put,
            SettingWritten,
            access="operator",
            body=msgspec.Raw,
            body_one_of=tuple(kind.type for kind in kinds),
            query=SettingQuery,
            refusals=(404, 503),
            once=True,
        ),
        Operation(
            "DELETE",
            _PATH,
            "Take a setting back to what a shop begins with.",
            do.remove,
            SettingWritten,
            access="operator",
            refusals=(404, 503),
            once=True,
        ),
        # After those with an id: a path's part may hold slashes.
        Operation(
            "GET",
            "/v1/settings/{kind}",
            "All settings of a kind.",
            do.all_of,
            SettingList,
            access="operator",
            refusals=(404,),
        ),
    ]
