"""Logs, metrics and traces. Logs are one JSON object a line and carry the trace they belong to."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

import orjson
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]

LATENCY_BUCKETS_S = (
    0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
)  # fmt: skip
"""Fine where the promises lie (5, 10 and 20 ms), coarse beyond."""


WRITE_AFTER_S = 0.02
"""How long lines below a warning may wait to be written together."""


class _CalmHandler(logging.StreamHandler):  # type: ignore[type-arg]  # generic for mypy only
    """Writes the lines of a busy moment together, a little later; warnings, and all lines before them, at once.

    A line written to a pipe wakes its reader, which on few processors runs in the place of whoever wrote it: in the
    middle of a trade that cost several milliseconds. Outside an event loop nothing waits. A process that is killed
    loses the lines of its last moment.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: list[str] = []
        self._later: asyncio.TimerHandle | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line."""
        try:
            self._lines.append(self.format(record) + self.terminator)
        except (TypeError, ValueError):
            self.handleError(record)
            return
        loop = _running_loop()
        if record.levelno >= logging.WARNING or loop is None:
            self.flush()
        elif len(self._lines) == 1:
            self._later = loop.call_later(WRITE_AFTER_S, self.flush)

    def flush(self) -> None:
        """Write what waits."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._lines:
            lines, self._lines = self._lines, []
            self.stream.write("".join(lines))
        super().flush()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class _JsonFormatter(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "ts": int(record.created * 1000),
            "level": record.levelname.lower(),
            "service": self._service,
            "event": record.getMessage(),
        }
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            line["trace_id"] = trace.format_trace_id(span.trace_id)
            line["span_id"] = trace.format_span_id(span.span_id)
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class Log:
    """A structured logger: an event name in snake case, and fields. Never pass a key or a token to it."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, event: str, **fields: object) -> None:
        """Detail for a developer."""
        self._logger.debug(event, extra={"fields": fields})

    def info(self, event: str, **fields: object) -> None:
        """Something noteworthy happened as it should."""
        self._logger.info(event, extra={"fields": fields})

    def warning(self, event: str, **fields: object) -> None:
        """Something is degraded; the service goes on."""
        self._logger.warning(event, extra={"fields": fields})

    def error(self, event: str, *, cause: BaseException | None = None, **fields: object) -> None:
        """Something failed; ``cause`` adds its traceback."""
        self._logger.error(event, extra={"fields": fields}, exc_info=cause)


def configure_logging(service: str, level: str) -> Log:
    """Send everything to standard output as JSON lines; quiet the libraries below warnings."""
    handler = _CalmHandler(sys.stdout)
    handler.setFormatter(_JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logger = logging.getLogger(f"dexlane.{service}")
    logger.setLevel(level)
    return Log(logger)


class Metrics:
    """Collectors of one service, named ``dexlane_<service>_<noun>_<unit>``, in a registry of its own."""

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        self._prefix = f"dexlane_{service.replace('-', '_')}_"

    def counter(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Counter:
        """A count that only grows."""
        return Counter(self._prefix + name, meaning, labels, registry=self.registry)

    def gauge(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Gauge:
        """A value that goes up and down."""
        return Gauge(self._prefix + name, meaning, labels, registry=self.registry)

    def histogram(
        self, name: str, meaning: str, labels: Sequence[str] = (), buckets: Sequence[float] = LATENCY_BUCKETS_S
    ) -> Histogram:
        """A distribution; seconds unless the name says otherwise."""
        return Histogram(self._prefix + name, meaning, labels, registry=self.registry, buckets=tuple(buckets))


def configure_tracing(service: str, endpoint: str | None, ratio: float) -> trace.Tracer:
    """A tracer whose trace ids run through the bus. Spans are exported only when a collector is configured."""
    sampler = ParentBased(TraceIdRatioBased(ratio)) if endpoint else ALWAYS_OFF
    provider = TracerProvider(sampler=sampler, resource=Resource.create({"service.name": f"dexlane-{service}"}))
    if endpoint:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + "/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider.get_tracer("dexlane")


def trace_headers() -> dict[str, str]:
    """The current trace context as message headers (W3C ``traceparent``)."""
    headers: dict[str, str] = {}
    propagate.inject(headers)
    return headers


def trace_context(headers: Mapping[str, str] | None) -> Context:
    """The trace context that a message carries; an empty one when it carries none."""
    return propagate.extract(headers or {})
