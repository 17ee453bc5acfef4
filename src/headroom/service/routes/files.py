"""Files: sent in for requests to name, shown, removed."""

from __future__ import annotations

from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse, Response

from headroom.service.callers import Caller
from headroom.service.doors import Doors, caller_of, doors_of
from headroom.service.shapes import empty, json_of
from headroom.service.uploads import fill
from headroom.service.views import file_view

router = APIRouter(prefix="/v1/files", tags=["files"])
Here = Annotated[Doors, Depends(doors_of)]
Who = Annotated[Caller, Depends(caller_of)]


@router.post("", status_code=201, responses={201: json_of("File")}, summary="Send an audio file")
async def upload(http: HttpRequest, doors: Here, caller: Who, name: str | None = None) -> Response:
    """The body is the file, or a form of the type multipart/form-data with one file in it. A
    request names the file by its id, wherever it takes the path of a file."""
    config = doors.config
    with doors.files.receive(caller.key, name or "upload", config.upload_bytes) as incoming:
        kind = http.headers.get("content-type", "")
        incoming.rename(await fill(http.stream(), kind, name, incoming.write))
        file = await run_sync(incoming.accept)
    return JSONResponse(file_view(file), 201, {"Location": f"/v1/files/{file.id}"})


@router.get("/{id}", responses={200: json_of("File")}, summary="Show a file")
def show(id: str, doors: Here, caller: Who) -> dict[str, object]:
    """Its kind, length and size, and when it is removed if no job uses it."""
    return dict(file_view(doors.files.get(id, caller.owner)))


@router.delete(
    "/{id}", status_code=204, responses={204: empty("It is removed.")}, summary="Remove a file"
)
def delete(id: str, doors: Here, caller: Who) -> Response:
    """Only a file that was sent in, and that no job needs any more."""
    doors.files.delete(id, caller.owner)
    return Response(status_code=204)
