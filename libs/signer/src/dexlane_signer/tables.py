"""Reading the tables of a TOML file strictly: what is missing, unknown or of another type is one sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from dexlane_signer.addresses import normal_address

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,77}")
T = TypeVar("T")


class PolicyFileError(Exception):
    """The file cannot be used; the message is one sentence that names the field."""


class Table:
    """One table of the file, whose fields are taken one by one. ``finish`` refuses what was not taken."""

    def __init__(self, fields: object, name: str) -> None:
        if not isinstance(fields, dict):
            raise PolicyFileError(f"{name} must be a table")
        self._fields: Mapping[str, Any] = fields
        self._taken: set[str] = set()
        self.name = name

    def finish(self) -> None:
        """Raise ``PolicyFileError`` when a field is left that nobody knows."""
        for unknown in sorted(self._fields.keys() - self._taken):
            raise PolicyFileError(f"{self.name} has an unknown field {unknown}")

    def has(self, field: str) -> bool:
        """Whether an optional field is there."""
        self._taken.add(field)
        return field in self._fields

    def table(self, field: str) -> Table:
        """A table below this one."""
        return Table(self._take(field), f"{self.name}.{field}" if self.name else field)

    def tables(self, field: str) -> list[Table]:
        """An array of tables, at least one."""
        items = self._list(field)
        if not items:
            raise PolicyFileError(f"{self.where(field)} is empty")
        return [Table(item, f"{self.where(field)}[{index}]") for index, item in enumerate(items)]

    def text(self, field: str) -> str:
        """A text that is not empty."""
        value = self._take(field)
        if not isinstance(value, str) or not value:
            raise PolicyFileError(f"{self.where(field)} must be a text")
        return value

    def path(self, field: str) -> Path:
        """An absolute path."""
        path = Path(self.text(field))
        if not path.is_absolute():
            raise PolicyFileError(f"{self.where(field)} must be an absolute path")
        return path

    def flag(self, field: str) -> bool:
        """True or false."""
        value = self._take(field)
        if not isinstance(value, bool):
            raise PolicyFileError(f"{self.where(field)} must be true or false")
        return value

    def integer(self, field: str, *, least: int = 0, most: int = 2**256 - 1) -> int:
        """An integer in a range; large ones may be written as text."""
        return self._integer(self._take(field), self.where(field), least, most)

    def integers(self, field: str) -> tuple[int, ...]:
        """A list of integers that are not negative."""
        return tuple(self._integer(item, self.where(field), 0, 2**63 - 1) for item in self._list(field))

    def address(self, field: str) -> str:
        """An address, in lower case."""
        return self._as(normal_address, self._take(field), self.where(field), "an address")

    def addresses(self, field: str) -> tuple[str, ...]:
        """A list of addresses."""
        return tuple(self._as(normal_address, item, self.where(field), "addresses") for item in self._list(field))

    def texts(self, field: str) -> tuple[str, ...]:
        """A list of texts."""
        items = self._list(field)
        if not all(isinstance(item, str) and item for item in items):
            raise PolicyFileError(f"{self.where(field)} must hold texts")
        return tuple(items)

    def where(self, field: str) -> str:
        """A field's full name."""
        return f"{self.name}.{field}" if self.name else field

    def _take(self, field: str) -> Any:
        self._taken.add(field)
        if field not in self._fields:
            raise PolicyFileError(f"{self.where(field)} is missing")
        return self._fields[field]

    def _list(self, field: str) -> list[Any]:
        value = self._take(field)
        if not isinstance(value, list):
            raise PolicyFileError(f"{self.where(field)} must be a list")
        return value

    @staticmethod
    def _integer(value: object, where: str, least: int, most: int) -> int:
        if isinstance(value, str) and _DECIMAL.fullmatch(value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise PolicyFileError(f"{where} must be an integer from {least} to {most}")
        return value

    @staticmethod
    def _as(convert: Callable[[str], T], value: object, where: str, what: str) -> T:
        try:
            return convert(value) if isinstance(value, str) else convert("")
        except ValueError:
            raise PolicyFileError(f"{where} must be {what}") from None
