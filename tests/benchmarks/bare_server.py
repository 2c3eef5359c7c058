"""The framework alone: a Starlette route that reads JSON and answers a list of a page's size, served by uvicorn."""

import socket
import sys
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

ITEM: dict[str, Any] = {
    "item_id": "i12345",
    "position": 1,
    "score": 0.95,
    "source": "tower",
    "reasons": [{"code": "for_you", "text": "Chosen from what you did lately", "evidence": {}}],
    "properties": {"name": "Oolong jasmine tea, 250 g", "price": "12.34"},
    "pinned": False,
}


async def page(request: Request) -> JSONResponse:
    asked = await request.json()
    return JSONResponse({"items": [ITEM | {"position": n} for n in range(1, asked["count"] + 1)]})


def main() -> None:
    """Serve on the socket whose file descriptor is given, until ended."""
    app = Starlette(routes=[Route("/v1/recommendations", page, methods=["POST"])])
    config = uvicorn.Config(app, access_log=False, log_level="error", server_header=False)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])


if __name__ == "__main__":
    main()
