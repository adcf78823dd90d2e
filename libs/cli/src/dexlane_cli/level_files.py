"""Write what repeats the published levels: the table of docs/LEVELS.md, and the shares that the signer reads.

``python -m dexlane_cli.level_files [ROOT]``, by ``make schemas``. A test keeps both equal to the code.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import orjson

from dexlane.domain.levels import LEVELS, position_shares
from dexlane_cli.levels import FIGURES, WORDS

DOCUMENT = Path("docs/LEVELS.md")
SHARES = Path("libs/signer/src/dexlane_signer/levels.json")
BEGIN, END = "<!-- levels: written by `make schemas` -->\n", "<!-- end of levels -->\n"


def contents(root: Path) -> Mapping[Path, str]:
    """What each file should say."""
    before, rest = (root / DOCUMENT).read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    return {
        DOCUMENT: "".join((before, BEGIN, _table(), END, after)),
        SHARES: orjson.dumps(position_shares(), option=orjson.OPT_INDENT_2).decode() + "\n",
    }


def _table() -> str:
    columns = {**FIGURES, **WORDS}
    rows = [(str(level), *(column(limits) for column in columns.values())) for level, limits in LEVELS.items()]
    lines = (("level", *columns), ("---",) * (len(columns) + 1), *rows)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def main(root: Path) -> None:
    """Write them."""
    for path, text in contents(root).items():
        (root / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(*sys.argv[1:2]))
