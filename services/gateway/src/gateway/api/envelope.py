"""The one form of every answer, and of every refusal (RFC 9457)."""

from __future__ import annotations

from typing import Generic, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from dexlane.runtime.errors import Transient
from dexlane.values.chains import BlockRef
from gateway.books import ChangeRefused, UnknownBook
from gateway.statuses import StatusRefused
from gateway.statuses.confirmations import ConfirmationOver, UnknownConfirmation

T = TypeVar("T")
VERSION = 1
PROBLEM_JSON = "application/problem+json"


class BlockAge(BaseModel):
    """The last block that was heard of and how long ago."""

    block: BlockRef
    age_ms: int


class AsOf(BaseModel):
    """The moment an answer holds for."""

    at_ms: int = Field(description="Unix time in milliseconds")
    blocks: dict[int, BlockAge] = Field(description="last block by chain id; a chain without one is missing")


class Envelope(BaseModel, Generic[T]):
    """An answer. ``next`` continues a list; None at its end."""

    version: int = VERSION
    data: T
    as_of: AsOf
    next: str | None = Field(default=None, description="cursor of the next page of a list")


class ProblemBody(BaseModel):
    """A refusal; ``detail`` is a sentence that says what to do."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


class Problem(Exception):  # noqa: N818
    """A refusal, raised by a route."""

    def __init__(self, status: int, title: str, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.headers = headers


def problem_response(problem: Problem) -> JSONResponse:
    """The answer that tells a problem."""
    body = ProblemBody(title=problem.title, status=problem.status, detail=problem.detail)
    return JSONResponse(body.model_dump(), status_code=problem.status, media_type=PROBLEM_JSON, headers=problem.headers)


PROBLEM_RESPONSES: dict[int | str, dict[str, object]] = {
    "4XX": {"model": ProblemBody, "description": "Refused; the detail says what to do"},
    "503": {"model": ProblemBody, "description": "Not possible at this moment; try again"},
}


def install_problem_handlers(app: FastAPI) -> None:
    """Answer every error as a problem."""

    def on_problem(_request: Request, error: Problem) -> JSONResponse:
        return problem_response(error)

    def on_invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        faults = [f"{_where(fault['loc'])}: {fault['msg'].removeprefix('Value error, ')}" for fault in error.errors()]
        return problem_response(Problem(422, "Invalid request", "; ".join(faults)))

    def on_http(_request: Request, error: HTTPException) -> JSONResponse:
        detail = "there is nothing at this address; /docs lists what there is" if error.status_code == 404 else None
        return problem_response(Problem(error.status_code, "Not possible", detail or str(error.detail)))

    app.add_exception_handler(Problem, on_problem)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, on_invalid)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, on_http)  # type: ignore[arg-type]
    _told_as(app, UnknownBook, 404, "Unknown book")
    _told_as(app, ChangeRefused, 409, "Change refused")
    _told_as(app, StatusRefused, 409, "Change refused")
    _told_as(app, UnknownConfirmation, 404, "Unknown confirmation")
    _told_as(app, ConfirmationOver, 409, "Over")
    _told_as(app, Transient, 503, "Not possible at this moment")


def _told_as(app: FastAPI, error_type: type[Exception], status: int, title: str) -> None:
    def handler(_request: Request, error: Exception) -> JSONResponse:
        return problem_response(Problem(status, title, str(error)))

    app.add_exception_handler(error_type, handler)


def _where(location: tuple[object, ...]) -> str:
    return ".".join(str(part) for part in location if part not in {"body", "query", "path"}) or "body"
