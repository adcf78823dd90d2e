"""Recorded files as rows: Parquet, CSV (also gzipped) and JSON, told apart by their names' endings."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from dexlane_cli.errors import EXIT_USAGE, CommandError

Row: TypeAlias = dict[str, Any]
ROWS_AT_ONCE = 20_000
_UNREADABLE = (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error)


@dataclass(frozen=True)
class Table:
    """A file of rows. Numbers may be integers or decimal text; ``rows`` are read when asked for."""

    path: Path
    columns: tuple[str, ...]
    count: int | None
    """Rows, where the file says it before it is read."""

    def rows(self, wanted: Sequence[str]) -> Iterator[Row]:
        """Every row with the wanted columns (those that the file has)."""
        chosen = [name for name in wanted if name in self.columns]
        return _parquet_rows(self.path, chosen) if self.path.suffix == ".parquet" else _csv_rows(self.path, chosen)


def open_table(path: Path) -> Table:
    """The columns of a Parquet or CSV file. Raises ``CommandError`` when it is neither or cannot be read."""
    if not path.is_file():
        raise CommandError(f"there is no file {path}", EXIT_USAGE)
    if path.suffix == ".parquet":
        return _parquet_table(path)
    if path.name.endswith((".csv", ".csv.gz")):
        with _text(path) as lines:
            try:
                header = next(csv.reader(lines), [])
            except _UNREADABLE as error:
                raise CommandError(f"{path} is no CSV file: {error}", EXIT_USAGE) from error
        return Table(path, tuple(header), None)
    raise CommandError(f"{path} ends in none of .parquet, .csv, .csv.gz", EXIT_USAGE)


def read_json(path: Path) -> Row:
    """A JSON object. Raises ``CommandError``."""
    try:
        content = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise CommandError(f"{path} is no JSON file: {error}", EXIT_USAGE) from error
    if not isinstance(content, dict):
        raise CommandError(f"{path} holds no JSON object", EXIT_USAGE)
    return content


def _parquet() -> Any:
    # Imported when used: it is an extra of this command only, and a big one.
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise CommandError("Parquet files need pyarrow: pip install 'dexlane-cli[tapes]'", EXIT_USAGE) from error
    return parquet


def _parquet_table(path: Path) -> Table:
    try:
        file = _parquet().ParquetFile(path)
    except (OSError, ValueError) as error:  # pyarrow.ArrowInvalid is a ValueError
        raise CommandError(f"{path} is no Parquet file: {error}", EXIT_USAGE) from error
    return Table(path, tuple(file.schema_arrow.names), file.metadata.num_rows)


def _parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    try:
        for batch in _parquet().ParquetFile(path).iter_batches(ROWS_AT_ONCE, columns=list(columns)):
            yield from batch.to_pylist()
    except (OSError, ValueError) as error:
        raise CommandError(f"{path} cannot be read to its end: {error}", EXIT_USAGE) from error


def _csv_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    with _text(path) as lines:
        try:
            for row in csv.DictReader(lines):
                yield {name: row[name] for name in columns}
        except _UNREADABLE as error:
            raise CommandError(f"{path} cannot be read to its end: {error}", EXIT_USAGE) from error


def _text(path: Path) -> io.TextIOWrapper:
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.GzipFile(path), encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")
