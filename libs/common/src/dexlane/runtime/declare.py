"""Declare streams and buckets: compare what is on the server with the specification, print and apply the difference."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, KeyValueConfig, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import BucketNotFoundError, NotFoundError

from dexlane.events.base import DEFAULT_REALM
from dexlane.events.streams import BUCKETS, STREAMS, BucketSpec, StreamSpec

COMPARED = ("subjects", "storage", "max_age", "max_bytes", "max_msgs", "max_msgs_per_subject", "duplicate_window")


@dataclass(frozen=True)
class Difference:
    """One line of the plan: what is missing, or which setting differs."""

    name: str
    setting: str
    there: str
    wanted: str

    def __str__(self) -> str:
        if self.setting == "":
            return f"+ {self.name}: {self.wanted}"
        return f"~ {self.name}.{self.setting}: {self.there} -> {self.wanted}"


def stream_config(spec: StreamSpec, realm: str = DEFAULT_REALM, replicas: int = 1) -> StreamConfig:
    """The server's form of a stream specification."""
    window = min(spec.duplicate_window_s, spec.max_age_s) if spec.max_age_s else spec.duplicate_window_s
    return StreamConfig(
        name=spec.name_in(realm),
        description=spec.description,
        subjects=list(spec.subjects_in(realm)),
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_age=float(spec.max_age_s),
        max_bytes=spec.max_bytes or -1,
        max_msgs=spec.max_messages or -1,
        max_msgs_per_subject=spec.max_messages_per_subject or -1,
        duplicate_window=float(window),
        num_replicas=replicas,
        allow_direct=True,
    )


def _bucket_config(spec: BucketSpec, replicas: int) -> KeyValueConfig:
    return KeyValueConfig(
        bucket=spec.name,
        description=spec.description,
        history=spec.history,
        max_bytes=spec.max_bytes or -1,
        max_value_size=spec.max_value_bytes or None,
        storage=StorageType.FILE,
        replicas=replicas,
    )


def _settings(config: StreamConfig) -> dict[str, Any]:
    known = {field.name for field in fields(config)}
    values = {name: getattr(config, name) for name in COMPARED if name in known}
    values["subjects"] = sorted(values["subjects"] or [])
    values["storage"] = str(getattr(values["storage"], "value", values["storage"]))
    return values


async def declare(
    js: JetStreamContext, *, apply: bool, realm: str = DEFAULT_REALM, replicas: int = 1
) -> list[Difference]:
    """Compare and, when ``apply`` is set, create or update. Returns the differences that were found."""
    found: list[Difference] = []
    for spec in STREAMS:
        found += await _declare_stream(js, stream_config(spec, realm, replicas), apply=apply)
    for bucket in BUCKETS:
        try:
            await js.key_value(bucket.name)
        except (BucketNotFoundError, NotFoundError):
            found.append(Difference(bucket.name, "", "", "create bucket"))
            if apply:
                await js.create_key_value(_bucket_config(bucket, replicas))
    return found


async def _declare_stream(js: JetStreamContext, wanted: StreamConfig, *, apply: bool) -> list[Difference]:
    name = str(wanted.name)
    try:
        there = (await js.stream_info(name)).config
    except NotFoundError:
        if apply:
            await js.add_stream(wanted)
        return [Difference(name, "", "", f"create stream on {len(wanted.subjects or [])} subjects")]
    have, want = _settings(there), _settings(wanted)
    differing = [Difference(name, key, str(have[key]), str(want[key])) for key in want if have[key] != want[key]]
    if differing and apply:
        await js.update_stream(wanted)
    return differing
