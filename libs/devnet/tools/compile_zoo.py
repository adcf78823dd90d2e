"""Compile the zoo of tokens and write the creation code of every family into one file beside the sources.

Usage: python libs/devnet/tools/compile_zoo.py FOLDER, with vyper 0.4.3 on PATH (``pip install vyper==0.4.3``) and a
FOLDER with what ``npm pack`` of solc@0.8.26, @openzeppelin/contracts@5.4.0 and solady@0.1.26 unpacks to, in ``solc``,
``openzeppelin`` and ``solady``. All of these are development tools; nothing of them is a dependency of the project.
"""

import gzip
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ZOO = Path(__file__).parents[1] / "src/dexlane_devnet/zoo"
SOURCES = ZOO / "sources"
COMPILERS = "solc 0.8.26, cancun, runs 200; vyper 0.4.3, cancun"


def main(folder: Path) -> int:
    """Write ``artifacts.json.gz``: digest of the sources, creation code by contract."""
    paths = {"@openzeppelin/contracts/": folder / "openzeppelin", "solady/": folder / "solady/src"}
    sources: dict[str, dict[str, str]] = {}
    for source in SOURCES.glob("*.sol"):
        _collect(source.name, sources, paths)
    answer = _solc(folder / "solc/soljson.js", sources)
    faults = [error["formattedMessage"] for error in answer.get("errors", ()) if error["severity"] == "error"]
    if faults:
        sys.stderr.write("\n".join(faults))
        return 1
    code = {
        name: found["evm"]["bytecode"]["object"]
        for source in SOURCES.glob("*.sol")
        for name, found in answer["contracts"].get(source.name, {}).items()
        if found["evm"]["bytecode"]["object"]
    }
    for source in SOURCES.glob("*.vy"):
        command = ["vyper", "-f", "bytecode", "--evm-version", "cancun", str(source)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        code["".join(part.title() for part in source.stem.split("_"))] = text.removeprefix("0x")
    content = {"compilers": COMPILERS, "sources_sha256": sources_digest(), "creation_code": dict(sorted(code.items()))}
    (ZOO / "artifacts.json.gz").write_bytes(gzip.compress(json.dumps(content).encode(), 9, mtime=0))
    return 0


def sources_digest() -> str:
    """What the artefacts were made from."""
    digest = hashlib.sha256()
    for source in sorted(SOURCES.iterdir()):
        digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()


def _collect(name: str, sources: dict[str, dict[str, str]], paths: dict[str, Path]) -> None:
    if name in sources:
        return
    place = next((at / name.removeprefix(start) for start, at in paths.items() if name.startswith(start)), None)
    text = (place or SOURCES / name).read_text()
    sources[name] = {"content": text}
    for found in re.findall(r'import\s[^;"]*"([^"]+)"', text):
        _collect(_resolved(found, name), sources, paths)


def _resolved(found: str, importer: str) -> str:
    if not found.startswith("."):
        return found
    parts = importer.split("/")[:-1]
    for part in found.split("/"):
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def _solc(soljson: Path, sources: dict[str, dict[str, str]]) -> dict[str, Any]:
    settings = {
        "optimizer": {"enabled": True, "runs": 200},
        "evmVersion": "cancun",
        "metadata": {"appendCBOR": False, "bytecodeHash": "none"},
        "outputSelection": {"*": {"*": ["evm.bytecode.object"]}},
    }
    task = json.dumps({"language": "Solidity", "sources": sources, "settings": settings})
    command = ["node", "--stack-size=4000", str(Path(__file__).with_name("solc.cjs")), str(soljson)]
    done = subprocess.run(command, input=task, capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
