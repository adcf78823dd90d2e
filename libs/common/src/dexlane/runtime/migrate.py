"""Bring a journal's tables to the newest revision. Each package that owns tables keeps its own Alembic branch."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import create_async_engine

from dexlane.runtime.errors import Fatal

HERE = Path(__file__).parent / "migrations"


def _versions(package: str) -> str:
    return str(files(package) / "migrations" / "versions")


def _config(packages: tuple[str, ...]) -> Config:
    config = Config()
    config.set_main_option("script_location", str(HERE))
    config.set_main_option("path_separator", "newline")
    locations = [str(HERE / "versions"), *(_versions(package) for package in packages)]
    config.set_main_option("version_locations", "\n".join(locations))
    return config


async def upgrade(url: str, *packages: str) -> None:
    """Run every missing revision of the journal and of the named packages (``<package>/migrations/versions``).

    ``Fatal`` when the database does not answer.
    """
    config = _config(packages)
    _make_folder(url)

    def run(connection: Connection) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, "heads")

    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(run)
    except (OperationalError, OSError) as error:
        raise Fatal(f"the journal's database does not answer: {error}") from error
    finally:
        await engine.dispose()


def _make_folder(url: str) -> None:
    prefix = "sqlite+aiosqlite:///"
    if url.startswith(prefix) and ":memory:" not in url:
        Path(url.removeprefix(prefix)).parent.mkdir(parents=True, exist_ok=True)
