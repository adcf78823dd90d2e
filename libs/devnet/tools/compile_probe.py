"""Compile the code of the executed token check and write its runtime code beside the source.

Usage: python libs/devnet/tools/compile_probe.py FOLDER, where FOLDER holds what ``npm pack solc@0.8.26`` unpacks to (a
development tool, no dependency of the project). The EVM version is fixed, so that the code runs on any chain since
2022.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "common/src/dexlane/chain/token_check/contracts/Probe.sol"
COMPILER = "solc 0.8.26, paris, runs 200"


def main(folder: Path) -> int:
    """Write ``probe.json``: compiler, digest of the source, runtime code of each contract."""
    settings = {
        "optimizer": {"enabled": True, "runs": 200},
        "evmVersion": "paris",
        "metadata": {"appendCBOR": False, "bytecodeHash": "none"},
        "outputSelection": {"*": {"*": ["evm.deployedBytecode.object"]}},
    }
    task = {"language": "Solidity", "sources": {SOURCE.name: {"content": SOURCE.read_text()}}, "settings": settings}
    command = ["node", str(Path(__file__).with_name("solc.cjs")), str(folder / "soljson.js")]
    done = subprocess.run(command, input=json.dumps(task), capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    faults = [error["formattedMessage"] for error in answer.get("errors", ()) if error["severity"] == "error"]
    if faults:
        sys.stderr.write("\n".join(faults))
        return 1
    contracts = answer["contracts"][SOURCE.name]
    content = {
        "compiler": COMPILER,
        "source_sha256": hashlib.sha256(SOURCE.read_bytes()).hexdigest(),
        **{name: found["evm"]["deployedBytecode"]["object"] for name, found in contracts.items()},
    }
    SOURCE.with_name("probe.json").write_text(json.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
