"""AWS KMS as its API reference describes ``Sign`` and ``GetPublicKey``: JSON 1.1, signed by Signature Version 4."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field

from dexlane.testing.key_services.curve import ServiceKey
from dexlane.testing.key_services.http import Answered, Asked, Service

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/kms/aws4_request, "
    r"SignedHeaders=([^,]+), Signature=([0-9a-f]{64})"
)
_KIND = "application/x-amz-json-1.1"


def failure(code: str, message: str = "", status: int = 400) -> Answered:
    """An error in the form of the JSON protocol."""
    return Answered.of({"__type": code, "message": message}, status, _KIND)


@dataclass
class AwsDouble(Service):
    """KMS of one region and account. ``keys`` is by key id; a key that is named elsewhere is not found."""

    keys: dict[str, ServiceKey] = field(default_factory=dict)
    access_key: str = "AKIDEXAMPLE"
    secret_key: str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"  # noqa: S105 - AWS's own example
    states: dict[str, str] = field(default_factory=dict)
    """Keys that are not ``Enabled``."""
    spec: str = "ECC_SECG_P256K1"

    def respond(self, asked: Asked) -> Answered:
        """What KMS answers."""
        refused = self._unsigned(asked)
        if refused is not None:
            return refused
        said = asked.json()
        key = self.keys.get(str(said.get("KeyId")))
        if key is None:
            return failure("NotFoundException", f"Key '{said.get('KeyId')}' does not exist")
        operation = asked.headers.get("x-amz-target", "").removeprefix("TrentService.")
        if operation == "GetPublicKey":
            return self._public_key(str(said["KeyId"]), key)
        if operation != "Sign":
            return failure("UnknownOperationException")
        return self._unusable(str(said["KeyId"])) or self._sign(said, key)

    def _unusable(self, key_id: str) -> Answered | None:
        state = self.states.get(key_id)
        if state == "Disabled":
            return failure("DisabledException", f"{key_id} is disabled.")
        return None if state is None else failure("KMSInvalidStateException", f"{key_id} is pending deletion.")

    def _public_key(self, key_id: str, key: ServiceKey) -> Answered:
        document = {
            "KeyId": key_id,
            "PublicKey": base64.b64encode(key.spki).decode(),
            "CustomerMasterKeySpec": self.spec,
            "KeySpec": self.spec,
            "KeyUsage": "SIGN_VERIFY",
            "SigningAlgorithms": ["ECDSA_SHA_256"],
        }
        return Answered.of(document, kind=_KIND)

    @staticmethod
    def _sign(said: dict[str, object], key: ServiceKey) -> Answered:
        if said.get("SigningAlgorithm") != "ECDSA_SHA_256":
            return failure("InvalidKeyUsageException", "Algorithm is incompatible with key spec ECC_SECG_P256K1.")
        message = base64.b64decode(str(said.get("Message", "")))
        if said.get("MessageType", "RAW") != "DIGEST":
            message = hashlib.sha256(message).digest()
        elif len(message) != 32:
            return failure("ValidationException", "Digest is invalid length for algorithm ECDSA_SHA_256.")
        document = {
            "KeyId": said["KeyId"],
            "Signature": base64.b64encode(key.sign_der(message)).decode(),
            "SigningAlgorithm": "ECDSA_SHA_256",
        }
        return Answered.of(document, kind=_KIND)

    def _unsigned(self, asked: Asked) -> Answered | None:
        """Signature Version 4, computed anew from what came."""
        found = _AUTHORIZATION.fullmatch(asked.headers.get("authorization", ""))
        if found is None:
            return failure("MissingAuthenticationTokenException", "Request is missing Authentication Token")
        access, day, region, names, signature = found.groups()
        if access != self.access_key:
            return failure("UnrecognizedClientException", "The security token included in the request is invalid.")
        lines = [f"{name}:{' '.join(asked.headers[name].split())}" for name in names.split(";")]
        body = hashlib.sha256(asked.body).hexdigest()
        request = "\n".join([asked.method, asked.path, "", *lines, "", names, body])
        scope = f"{day}/{region}/kms/aws4_request"
        hashed = hashlib.sha256(request.encode()).hexdigest()
        to_sign = "\n".join(["AWS4-HMAC-SHA256", asked.headers["x-amz-date"], scope, hashed])
        secret = f"AWS4{self.secret_key}".encode()
        for part in (day, region, "kms", "aws4_request"):
            secret = hmac.digest(secret, part.encode(), "sha256")
        if hmac.digest(secret, to_sign.encode(), "sha256").hex() != signature:
            return failure("InvalidSignatureException", "The request signature we calculated does not match.")
        return None
