"""Compile the devnet's own Vyper contracts and write their creation code beside the sources.

Usage: with vyper 0.4.3 on PATH (``pip install vyper==0.4.3``, a development tool, no dependency of the project):
python libs/devnet/tools/compile_vyper.py. The EVM version is fixed, so that the code runs on any chain since 2022.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "src/dexlane_devnet/vyper"


def main() -> int:
    """Write ``NAME.json`` for every ``NAME.vy``: compiler, digest of the source, creation code."""
    vyper = shutil.which("vyper")
    if vyper is None:
        sys.stderr.write("vyper is not on PATH\n")
        return 1
    version = subprocess.run([vyper, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    for source in sorted(SOURCES.glob("*.vy")):
        command = [vyper, "-f", "bytecode", "--optimize", "gas", "--evm-version", "paris", str(source)]
        code = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
        content = {"compiler": f"vyper {version}, paris, optimize gas", "source_sha256": digest, "bytecode": code}
        source.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
