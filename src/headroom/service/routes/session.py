"""Sessions of browsers: begun with a key, shown, ended."""

from __future__ import annotations

from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse, Response

from headroom.service.callers import ADMIN, HERE, Caller, no_key
from headroom.service.doors import Doors, caller_of, doors_of
from headroom.service.sessions import COOKIE, LIFE_SECONDS, TOKEN_COOKIE, Session, begin
from headroom.service.shapes import empty, json_of

router = APIRouter(prefix="/v1/session", tags=["session"])
Here = Annotated[Doors, Depends(doors_of)]
Who = Annotated[Caller, Depends(caller_of)]


@router.post("", status_code=201, responses={201: json_of("Session")}, summary="Begin a session")
async def start(http: HttpRequest, doors: Here, caller: Who) -> Response:
    """For the key in the header. The cookie stands for it from then on, in this browser only; a
    change needs the token too, in the header X-Headroom-Token."""
    session = await run_sync(begin, caller.key, doors.keys, doors.config)
    if session is None:  # from this machine, without a key: none is needed
        if caller != HERE:
            raise no_key()
        return JSONResponse(_view(caller, None), 201)
    response = JSONResponse(_view(caller, session), 201)
    _keep(response, session, (http.headers.get("origin") or "").startswith("https:"))
    return response


@router.get("", responses={200: json_of("Session")}, summary="Show who calls")
def show(http: HttpRequest, caller: Who) -> dict[str, object]:
    """`token` is that of the session; null for a caller without one."""
    return _view(caller, getattr(http.state, "session", None))


@router.delete(
    "", status_code=204, responses={204: empty("It is over.")}, summary="End the session"
)
def end(caller: Who) -> Response:
    """This browser forgets it; revoking the key ends all sessions of it."""
    response = Response(status_code=204)
    for name in (COOKIE, TOKEN_COOKIE):
        response.delete_cookie(name, path="/", samesite="strict")
    return response


def _view(caller: Caller, session: Session | None) -> dict[str, object]:
    return {
        "key": caller.key,
        "admin": ADMIN in caller.scopes,
        "token": None if session is None else session.token,
    }


def _keep(response: Response, session: Session, secure: bool) -> None:
    for name, value in ((COOKIE, session.cookie), (TOKEN_COOKIE, session.token)):
        response.set_cookie(
            name,
            value,
            max_age=LIFE_SECONDS,
            path="/",
            secure=secure,
            httponly=name == COOKIE,
            samesite="strict",
        )
