"""From a path to its operation: those without a part in the path are found by one look-up, the rest by Starlette."""

from collections.abc import Sequence
from typing import Any

from starlette.exceptions import HTTPException
from starlette.routing import Match, Route, Router

from serving.cors import Preflight
from serving.operations import Door, Endpoint, Operation
from serving.problems import Refusal, send_problem


class Routes:
    """An ASGI application over the table of operations; without a table it has nothing at any path."""

    def __init__(self, table: Sequence[Operation] = (), door: Door | None = None) -> None:
        self._direct: dict[tuple[str, str], Endpoint] = {}
        self._router = Router()
        if door is not None:
            self._mount(table, door)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        endpoint = self._direct.get((scope["method"], scope["path"]))
        if endpoint is not None:
            await endpoint(scope, receive, send)
            return
        try:
            await self._router(scope | {"app": self}, receive, send)
        except HTTPException as error:
            await send_problem(send, _unrouted(error, self._methods(scope)))

    def _mount(self, table: Sequence[Operation], door: Door) -> None:
        routes = []
        for operation in table:
            endpoint = Endpoint(operation, door)
            # Ids may hold slashes.
            path = operation.path.replace("}", ":path}")
            if operation.access == "publishable":
                asked = Preflight(door.origins, [operation.method], door.keys)
                routes.append(Route(path, asked, methods=["OPTIONS"]))
            routes.append(Route(path, endpoint, methods=[operation.method]))
            if "{" not in operation.path:
                self._direct[operation.method, operation.path] = endpoint
        self._router = Router(routes, redirect_slashes=False)

    def _methods(self, scope: Any) -> str:
        """The methods that a path takes."""
        routes = [one for one in self._router.routes if isinstance(one, Route)]
        taken = (one.methods or () for one in routes if one.matches(scope)[0] != Match.NONE)
        return ", ".join(sorted({method for methods in taken for method in methods} - {"OPTIONS"}))


def _unrouted(error: HTTPException, allow: str) -> Refusal:
    if error.status_code == 405:
        return Refusal(405, "method_not_allowed", f"This path takes {allow}.", allow=allow)
    return Refusal(404, "not_found", "There is nothing at this path; /openapi.json names what there is.")
