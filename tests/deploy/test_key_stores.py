"""The examples of key stores fit into the example policy, and the overlay gives a signer what its store needs alone."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from deployment import DEPLOY, ROOT, compose

from dexlane_signer.settings import read_settings

EXAMPLES = sorted((DEPLOY / "signer" / "key-stores").glob("*.toml"))
EXTRA_OF = {"vault": "vault", "aws-kms": "aws", "gcp-kms": "gcp", "web3signer": "web3signer", "ledger": "ledger"}


def test_every_store_has_an_example_and_an_extra() -> None:
    assert {path.stem for path in EXAMPLES} == set(EXTRA_OF)
    extras = tomllib.loads((ROOT / "libs" / "signer" / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert set(extras) == set(EXTRA_OF.values())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_takes_the_place_of_the_keystores(path: Path, tmp_path: Path) -> None:
    text = path.read_text()
    process, _, table = text.partition("[process]\n")[2].partition("\n\n")
    whole = (DEPLOY / "signer" / "policy.example.toml").read_text()
    whole = re.sub(r"(?m)^(keystores|password_file) = .*\n", "", whole)
    policy = tmp_path / "policy.toml"
    policy.write_text(whole.replace("[process]\n", f"[process]\n{process}\n", 1) + "\n" + table)
    policy.chmod(0o600)
    settings = read_settings(policy)
    keys = getattr(settings.key_store, "keys", None)
    assert keys is None or {key.account for key in keys} == settings.accounts
    assert f"dexlane-signer[{EXTRA_OF[path.stem]}]" in text


def test_only_the_signer_reaches_the_network_of_the_stores() -> None:
    overlay = compose("compose.signer-store.yaml")
    assert set(overlay["services"]) == {"signer"}
    assert overlay["services"]["signer"]["networks"] == ["bus", "stores"]
    assert overlay["services"]["signer"]["secrets"] == list(overlay["secrets"])


def test_the_image_installs_the_client_of_the_store_that_was_asked_for() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    assert "ARG EXTRAS=\n" in text
    assert '"dexlane-${SERVICE}${EXTRAS}"' in text
