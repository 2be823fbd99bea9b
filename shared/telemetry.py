"""Spans and metrics by OpenTelemetry's API; where no SDK is set up, they are nothing.

Who exports what is told here is the platform's business (``docs/resilience.md``). Names and
attributes are words of this code, numbers, and names of services: never a value of a data set, of
an address or of an error's text, so nothing of a patient can get out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import wraps
from typing import ParamSpec, TypeAlias, TypeVar

from opentelemetry import metrics, propagate, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

__all__ = [
    "CACHE",
    "DEFERRED",
    "FEED_LAG",
    "INSTANCES",
    "OPERATION_PERCENT",
    "QUEUE_AGE",
    "REQUEST_CHARGE",
    "STORED_BYTES",
    "STORE_CALLS",
    "Span",
    "SpanKind",
    "Value",
    "failed",
    "span",
    "traced",
]

_TRACER = trace.get_tracer("dicom")
_METER = metrics.get_meter("dicom")

Value: TypeAlias = str | int | float | bool
_P = ParamSpec("_P")
_T = TypeVar("_T")

INSTANCES = _METER.create_counter(
    "dicom.store.instances", "{instance}", "Instances of stores, by outcome"
)
STORED_BYTES = _METER.create_counter("dicom.store.bytes", "By", "Bytes of stored instances")
STORE_CALLS = _METER.create_histogram(
    "dicom.call.duration", "s", "Calls to blobs, queues, tables and Cosmos DB; each try is one"
)
REQUEST_CHARGE = _METER.create_counter("dicom.cosmos.request_charge", "{RU}", "Request units")
FEED_LAG = _METER.create_histogram(
    "dicom.feed.lag", "s", "From the commit of a change until it is in the feed"
)
QUEUE_AGE = _METER.create_histogram(
    "dicom.queue.age", "s", "Age of messages when their work begins, by queue"
)
DEFERRED = _METER.create_counter(
    "dicom.queue.deferred", "{message}", "Work put off because a store is away, by queue"
)
OPERATION_PERCENT = _METER.create_gauge(
    "dicom.operation.percent", "%", "How far the operation is that went on last, by type"
)
CACHE = _METER.create_counter("dicom.cache", "{lookup}", "Looks into a cache, by hit")


@contextlib.contextmanager
def span(
    name: str,
    attributes: Mapping[str, Value] | None = None,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    headers: Mapping[str, str] | None = None,
) -> Iterator[Span]:
    """A span around a block; what the block raises is told by its class alone.

    Parameters
    ----------
    name : str
        A word of this code.
    attributes : Mapping
        What is known at its beginning.
    kind : SpanKind
        Whether it serves a request or makes one.
    headers : Mapping, optional
        Of a request: ``traceparent`` names the span that it belongs to.
    """
    if _nobody_listens():
        yield trace.INVALID_SPAN
        return
    parent = None if headers is None else propagate.extract(headers)
    with _TRACER.start_as_current_span(
        name,
        parent,
        kind,
        attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield current
        except BaseException as error:
            failed(current, type(error).__name__)
            raise


def _nobody_listens() -> bool:
    """Whether no SDK is set up: a span of the API alone costs 13 µs, this 4."""
    return isinstance(_TRACER, trace.ProxyTracer) and isinstance(
        trace.get_tracer_provider(), trace.ProxyTracerProvider
    )


def failed(current: Span, why: str) -> None:
    """Mark a span as failed; ``why`` is a class or a status, no text."""
    current.set_attribute("error.type", why)
    current.set_status(Status(StatusCode.ERROR))


def traced(name: str) -> Callable[[Callable[_P, Awaitable[_T]]], Callable[_P, Awaitable[_T]]]:
    """A span around each call of a use case."""

    def of(work: Callable[_P, Awaitable[_T]]) -> Callable[_P, Awaitable[_T]]:
        @wraps(work)
        async def run(*arguments: _P.args, **options: _P.kwargs) -> _T:
            with span(name):
                return await work(*arguments, **options)

        return run

    return of
