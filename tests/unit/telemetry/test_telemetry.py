"""What spans say, by the SDK's own exporter into memory, and that they cost nothing without it."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import ServiceRequestError, ServiceResponseError
from azure.core.pipeline.transport import AioHttpTransport
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from shared import telemetry
from shared.adapters.azure.transport import Transport
from shared.errors import Unavailable
from shared.telemetry import span, traced


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry, "_TRACER", provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


def _only(exported: InMemorySpanExporter) -> ReadableSpan:
    [one] = exported.get_finished_spans()
    return one


def test_a_failure_is_told_by_its_class_and_never_by_its_text(
    exported: InMemorySpanExporter,
) -> None:
    with pytest.raises(ValueError, match="Secret"), span("work"):
        raise ValueError("Secret^Patient")
    one = _only(exported)
    assert one.status.status_code is StatusCode.ERROR
    assert one.attributes == {"error.type": "ValueError"}
    assert not one.events
    assert "Secret" not in one.to_json()


def test_without_an_sdk_a_span_is_nothing() -> None:
    with span("work") as current:
        telemetry.failed(current, "ValueError")
    assert not current.is_recording()
    assert not current.get_span_context().is_valid


async def test_a_use_case_is_a_span_and_keeps_its_name(exported: InMemorySpanExporter) -> None:
    @traced("find")
    async def find(number: int) -> int:
        return number + 1

    assert await find(1) == 2
    assert find.__name__ == "find"
    assert _only(exported).name == "find"


async def test_a_use_case_that_fails_is_a_failed_span(exported: InMemorySpanExporter) -> None:
    @traced("find")
    async def find() -> None:
        raise Unavailable

    with pytest.raises(Unavailable):
        await find()
    assert _only(exported).attributes == {"error.type": "Unavailable"}


_REQUEST = SimpleNamespace(
    method="POST",
    url="https://account.documents.azure.com/dbs/a/colls/b/docs/Secret",
    headers={"Content-Length": "120"},
)


async def _sent(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    async def send(_self: object, _request: object, **_options: object) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(AioHttpTransport, "send", send)
    await Transport(service="cosmos").send(_REQUEST)


async def test_a_call_tells_sizes_and_charge_and_no_address(
    exported: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"Content-Length": "77", "x-ms-request-charge": "5.29"}
    await _sent(monkeypatch, SimpleNamespace(status_code=201, headers=headers))
    one = _only(exported)
    assert one.name == "cosmos POST"
    assert one.attributes == {
        "http.request.method": "POST",
        "http.request.body.size": 120,
        "http.response.status_code": 201,
        "http.response.body.size": 77,
        "azure.cosmosdb.operation.request_charge": 5.29,
    }
    assert one.status.status_code is StatusCode.UNSET
    assert "Secret" not in one.to_json()


@pytest.mark.parametrize(
    ("status", "fails"), [(404, False), (409, False), (429, True), (503, True)]
)
async def test_what_a_store_refuses_for_a_reason_is_no_failure(
    exported: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch, status: int, fails: bool
) -> None:
    await _sent(monkeypatch, SimpleNamespace(status_code=status, headers={}))
    assert (_only(exported).status.status_code is StatusCode.ERROR) == fails


async def test_a_lost_answer_is_told_from_a_request_that_was_not_sent(
    exported: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = ServiceRequestError("broken", error=ConnectionResetError())
    with pytest.raises(ServiceResponseError):
        await _sent(monkeypatch, broken)
    attributes = _only(exported).attributes
    assert attributes is not None
    assert attributes["error.type"] == "ServiceResponseError"
