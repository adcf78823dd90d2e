"""Key files of Google service accounts whose tokens come from the double."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


@cache
def _private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def service_account_file(folder: Path, url: str) -> Path:
    """A file like those of Google's console; its key was made just now."""
    path = folder / "service-account.json"
    document = {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "1",
        "private_key": _private_key(),
        "client_email": "signer@p.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": f"{url}/token",
    }
    path.write_text(json.dumps(document))
    return path
