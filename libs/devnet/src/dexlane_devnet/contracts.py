"""Read creation code out of the fetched packages: the four shapes artifacts come in."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from dexlane_devnet.errors import DevnetError
from dexlane_devnet.packages import Package


@dataclass(frozen=True)
class Source:
    """Folder of the fetched packages; answers with bytecode."""

    folders: dict[str, Path]

    def creation_code(self, package: Package, member: str, links: dict[str, str] | None = None) -> bytes:
        """Creation code of a JSON artifact, with library addresses filled in by ``links``.

        Raises:
            DevnetError: a library the artifact needs is not in ``links``.
        """
        artifact: dict[str, Any] = orjson.loads((self.folders[package.spec] / member).read_bytes())
        code = artifact.get("bytecode") or artifact["evm"]["bytecode"]
        text = (code["object"] if isinstance(code, dict) else code).removeprefix("0x")
        for libraries in (artifact.get("linkReferences") or {}).values():
            for name, places in libraries.items():
                if name not in (links or {}):
                    raise DevnetError(f"{member} needs the library {name}, which was not deployed.")
                for place in places:
                    start = 2 * place["start"]
                    text = text[:start] + (links or {})[name][2:].lower() + text[start + 40 :]
        return bytes.fromhex(text)

    def hex_literal(self, package: Package, member: str, pattern: str) -> bytes:
        """The first group of ``pattern`` in a source file, as bytes.

        Raises:
            DevnetError: the file holds no such literal.
        """
        found = re.search(pattern, (self.folders[package.spec] / member).read_text(encoding="utf-8"))
        if found is None:
            raise DevnetError(f"{package.spec} holds no code literal in {member}.")
        return bytes.fromhex(found.group(1))


def calldata(signature: str, *arguments: object) -> str:
    """ABI calldata as 0x-prefixed hex, for a signature such as ``transfer(address,uint256)``."""
    return "0x" + (keccak(text=signature)[:4] + encode(split_types(signature), arguments)).hex()


def split_types(signature: str) -> list[str]:
    """Top-level argument types of a signature; tuples stay whole."""
    inner = signature[signature.index("(") + 1 : signature.rindex(")")]
    types, depth, current = [], 0, ""
    for char in inner:
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            types.append(current)
            current = ""
        else:
            current += char
    return [*types, current] if current else types
