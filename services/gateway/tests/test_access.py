"""Rules at the door: token, Host, Origin, rates, sizes, headers."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dexlane.runtime.clock import ManualClock
from dexlane.runtime.errors import Fatal
from gateway.api.access import RateLimit, TokenCheck, obtain_token
from gateway.settings import Settings

from .conftest import WRITE

TOKEN = "t" * 43
HALT = {"scope": "halted", "reason": "drill"}
WRITES = (
    ("POST", "/api/v1/halt", HALT),
    ("POST", "/api/v1/resume", {"reason": "go"}),
    ("PUT", "/api/v1/books/paper-main", {"level": 2}),
    ("POST", "/api/v1/positions/close", {"book_id": "paper-main", "token": "0x" + "1" * 40, "reason": "x"}),
)


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
@pytest.mark.parametrize(
    "authorization", [None, "", TOKEN, f"Basic {TOKEN}", "Bearer", "Bearer wrong", f"Bearer {TOKEN}x", "Bearer \u00e9"]
)
async def test_no_write_without_the_token(
    gateway: Any, method: str, path: str, body: dict[str, Any], authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization.encode("latin-1")}
    answer = await gateway.client.request(method, path, json=body, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "gateway-token" in answer.json()["detail"]


def test_without_a_token_nothing_is_accepted() -> None:
    assert not TokenCheck().accepts("")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8080", "localhost.evil", "", "10.0.0.1:8080"])
@pytest.mark.parametrize("path", ["/", "/api/v1/books", "/docs", "/static/page.js", "/openapi.json"])
async def test_a_foreign_host_gets_nothing(gateway: Any, host: str, path: str) -> None:
    answer = await gateway.client.get(path, headers={"Host": host})
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "LOCALHOST:8080", "[::1]:8080"])
async def test_loopback_names_are_ours(gateway: Any, host: str) -> None:
    assert (await gateway.client.get("/api/v1/books", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8080@evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_a_foreign_page_cannot_write_even_with_the_token(gateway: Any, headers: dict[str, str]) -> None:
    authorization = {"Authorization": f"Bearer {TOKEN}"}
    answer = await gateway.client.post("/api/v1/halt", json=HALT, headers={**authorization, **headers})
    assert answer.status_code == 403


async def test_an_origin_that_is_no_address_is_foreign(gateway: Any) -> None:
    answer = await gateway.client.post("/api/v1/halt", json=HALT, headers={**WRITE, "origin": "http://["})
    assert answer.status_code == 403


@pytest.mark.parametrize("query", ["opportunities?chain_id", "thoughts?chain_id", "thoughts?since_ms"])
async def test_a_number_that_no_journal_holds_is_refused(gateway: Any, query: str) -> None:
    assert (await gateway.client.get(f"/api/v1/{query}={10**30}")).status_code == 422


async def test_our_own_page_can_write(gateway: Any) -> None:
    headers = {
        "Authorization": f"Bearer {TOKEN}",
        "Origin": "http://127.0.0.1:8080",
        "Sec-Fetch-Site": "same-origin",
    }
    assert (await gateway.client.post("/api/v1/halt", json=HALT, headers=headers)).status_code == 200


async def test_no_other_site_is_given_leave_to_read(gateway: Any) -> None:
    answer = await gateway.client.get("/api/v1/books", headers={"Origin": "http://evil.example"})
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


async def test_bodies_are_bounded(gateway: Any) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    big = {"scope": "halted", "reason": "x" * 70_000}
    assert (await gateway.client.post("/api/v1/halt", json=big, headers=headers)).status_code == 413

    async def chunks() -> Any:
        yield b"{}"

    assert (await gateway.client.post("/api/v1/halt", content=chunks(), headers=headers)).status_code == 411


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b'{"scope": "halted", "reason": ' + b"[" * 5_000])
async def test_bodies_that_are_no_request_are_refused(gateway: Any, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    answer = await gateway.client.post("/api/v1/halt", content=body, headers=headers)
    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"] == "application/problem+json"


async def test_the_eleventh_write_of_a_minute_waits(open_gateway: Any) -> None:
    gateway = await open_gateway(writes_per_minute=10)
    for _ in range(10):
        await gateway.put("/books/paper-main", {"level": 6})
    late = await gateway.client.put("/api/v1/books/paper-main", json={"level": 6}, headers=WRITE)
    assert late.status_code == 429
    assert late.headers["retry-after"] == "6"
    gateway.clock.advance(6_000)
    await gateway.put("/books/paper-main", {"level": 6})


async def test_stopping_never_waits_behind_other_writes(open_gateway: Any) -> None:
    gateway = await open_gateway(writes_per_minute=1)
    await gateway.put("/books/paper-main", {"level": 6})
    late = await gateway.client.put("/api/v1/books/paper-main", json={"level": 6}, headers=WRITE)
    assert late.status_code == 429
    await gateway.post("/halt", HALT)


async def test_strangers_at_the_owners_address_do_not_keep_him_from_halting(open_gateway: Any) -> None:
    gateway = await open_gateway(halts_per_minute=3)
    answers = [(await gateway.client.post("/api/v1/halt", json=HALT)).status_code for _ in range(4)]
    assert answers == [401, 401, 401, 429]
    await gateway.post("/halt", HALT)


async def test_reads_are_bounded_and_the_page_is_not(open_gateway: Any) -> None:
    gateway = await open_gateway(reads_per_minute=3)
    answers = [(await gateway.client.get("/api/v1/status")).status_code for _ in range(4)]
    assert answers == [200, 200, 200, 429]
    assert (await gateway.client.get("/")).status_code == 200


def test_a_bucket_belongs_to_one_client_and_refills_evenly() -> None:
    clock = ManualClock()
    limit = RateLimit(60, clock)
    assert [limit.take("a") for _ in range(61)] == [0] * 60 + [1]
    assert limit.take("b") == 0
    clock.advance(2_000)
    assert [limit.take("a") for _ in range(3)] == [0, 0, 1]
    clock.advance(10**9)
    assert [limit.take("a") for _ in range(61)].count(0) == 60


async def test_nothing_is_answered_before_the_journal_is_read(gateway: Any) -> None:
    gateway.desk.door.is_open = False
    answer = await gateway.client.get("/api/v1/books")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert (await gateway.client.post("/api/v1/halt", json=HALT, headers=headers)).status_code == 503


# ---------------------------------------------------------------- where it listens


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "::", "example.org"])
def test_listening_beyond_loopback_must_be_asked_for_in_words(host: str) -> None:
    with pytest.raises(ValidationError, match="is reachable from other machines"):
        Settings(host=host)
    with pytest.raises(ValidationError, match="is reachable from other machines"):
        Settings(host=host, allow_remote="yes")
    with pytest.raises(ValidationError, match="must name the hosts"):
        Settings(host=host, allow_remote="yes, behind TLS")
    assert not Settings(host=host, allow_remote="yes, behind TLS", public_hosts=("desk.example",)).is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_no_words(host: str) -> None:
    assert Settings(host=host).is_loopback


async def test_beyond_loopback_reads_need_the_token_too(open_gateway: Any) -> None:
    remote = await open_gateway(host="0.0.0.0", allow_remote="yes, behind TLS", public_hosts=("desk.example",))
    headers = {"Host": "desk.example"}
    assert (await remote.client.get("/api/v1/books", headers=headers)).status_code == 401
    authorised = {**headers, "Authorization": f"Bearer {TOKEN}"}
    assert (await remote.client.get("/api/v1/books", headers=authorised)).status_code == 200


# ---------------------------------------------------------------- the token


def test_a_new_token_is_made_at_every_start_for_this_user_only(settings_for: Callable[..., Settings]) -> None:
    settings = settings_for()
    first, second = obtain_token(settings), obtain_token(settings)
    path = settings.data_dir / "gateway-token"
    assert first != second
    assert len(second) >= 43
    assert path.read_text().strip() == second
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_given_token_must_be_long_and_private(settings_for: Callable[..., Settings], tmp_path: Path) -> None:
    path = tmp_path / "token"
    settings = settings_for(token_file=path)
    with pytest.raises(Fatal, match="cannot be read"):
        obtain_token(settings)
    path.write_text("x" * 40 + "\n")
    path.chmod(0o644)
    with pytest.raises(Fatal, match="chmod 600"):
        obtain_token(settings)
    path.chmod(0o600)
    assert obtain_token(settings) == "x" * 40
    path.write_text("short")
    with pytest.raises(Fatal, match="shorter than 32"):
        obtain_token(settings)


def test_the_token_is_not_in_the_log(settings_for: Callable[..., Settings], capfd: pytest.CaptureFixture[str]) -> None:
    token = obtain_token(settings_for())
    captured = capfd.readouterr()
    assert token not in captured.out + captured.err
