"""``RequestIds``: an id for each request, the access log, and answers to unexpected exceptions."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.problems import Problem, is_index_locked, problem_of, unavailable
from service.store.keys.key_ring import ActiveKey

access_log = logging.getLogger("service.access")
error_log = logging.getLogger("service.errors")

REQUEST_ID: Final = "x-request-id"
_VALID_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestIds:
    """Middleware that gives each request an id, logs it, and answers what no handler caught.

    A valid id in the request is kept. The answer has the id too. The task of a request is ``task``
    of its state, so that the connection can cancel it; ``caller_left`` tells that it has done so.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if _VALID_REQUEST_ID.fullmatch(given) else _make_id()
        state = scope.setdefault("state", {})
        state |= {"request_id": request_id, "task": asyncio.current_task()}
        started = time.perf_counter()
        status: int | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except Exception as error:
            problem = problem_of(error)
            if is_index_locked(error):
                state["refusal_reason"] = "index_busy"
            if problem.status == 500:
                error_log.exception("%s %s", scope["method"], scope["path"], extra=_read_ids(scope))
            if status is not None:
                raise
            await problem(scope, receive, send_with_id)
        except asyncio.CancelledError:
            # By the connection, or because the server waits for its requests no longer.
            if status is None:
                await _explain_cancellation(state)(scope, receive, send_with_id)
        finally:
            access_log.info(
                "%s %s %s %.1f ms",
                scope["method"],
                scope["path"],
                status if status is not None else "-",
                (time.perf_counter() - started) * 1e3,
                extra=_read_ids(scope),
            )


def _explain_cancellation(state: dict[str, Any]) -> Problem:
    if state.get("caller_left"):
        return Problem(499, "the client disconnected")
    return unavailable("the server is stopping; send the request again")


def _make_id() -> str:
    # It is no secret. A system call would wait for the thread that runs Python at the moment.
    return f"{random.getrandbits(64):016x}"


def _read_ids(scope: Scope) -> dict[str, str | None]:
    """Return what lines about a request have besides their message."""
    state = scope["state"]
    # The run that the request created, or the one that it names.
    named = scope.get("path_params", {}).get("run_id")
    run_id = state.get("run_id") or (named if isinstance(named, str) else None)
    key: ActiveKey | None = state.get("key")
    return {
        "run_id": run_id,
        "request_id": state["request_id"],
        "key": None if key is None else key.name,
        "key_id": None if key is None else key.id,
    }
