"""A journal's tables: every missing revision runs, and a start that misses none does not even load Alembic."""

from __future__ import annotations

import sys

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from dexlane.runtime.migrate import newest_revisions, upgrade


async def heads(url: str) -> set[str]:
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        found = await connection.execute(sa.text("SELECT version_num FROM alembic_version"))
        names = set(found.scalars())
    await engine.dispose()
    return names


@pytest.mark.parametrize("packages", [(), ("dexlane.chain",)])
async def test_the_newest_revisions_are_those_that_alembic_ends_at(
    database_url: str, packages: tuple[str, ...]
) -> None:
    await upgrade(database_url, *packages)
    assert await heads(database_url) == newest_revisions(packages)


async def test_a_start_without_missing_revisions_runs_no_migration(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await upgrade(database_url, "dexlane.chain")
    monkeypatch.setitem(sys.modules, "alembic", None)
    await upgrade(database_url, "dexlane.chain")


async def test_a_package_that_joins_later_is_migrated(database_url: str) -> None:
    await upgrade(database_url)
    await upgrade(database_url, "dexlane.chain")
    assert await heads(database_url) == newest_revisions(("dexlane.chain",))
