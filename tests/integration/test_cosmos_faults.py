"""Cosmos DB is busy, slow, silent or breaks connections: what the adapter makes of it.

The npm server stands behind the proxy. It cannot carry the app: a read of what is absent is
answered 500, and its batches are not atomic and take no patches, so no store gets through. Its
single operations and queries can; searches over HTTP are here too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from shared.adapters.azure.clients import cosmos_client
from shared.adapters.azure.cosmos import CosmosDocuments, create_containers
from shared.config import CosmosConnection
from shared.errors import OperationRefused, Throttled, Unavailable
from shared.index.schema import INDEX
from shared.ports import Create, Patch, Replace
from shared.resilience import Patience
from shared.where import Eq
from tests.support.fault_proxy import (
    Answer,
    FaultProxy,
    Once,
    ResetAnswer,
    ResetRequest,
    Silent,
    Slow,
)
from tests.support.server import Server

pytestmark = pytest.mark.cosmos
_PATIENCE = Patience(silence_s=3, tries=2, request_s=20)
_BUSY = Answer(429, {"x-ms-retry-after-ms": "200", "x-ms-substatus": "3200"})


@pytest.fixture(scope="module")
def proxy(cosmos_connection: CosmosConnection) -> Iterator[FaultProxy]:
    address = urlsplit(cosmos_connection.endpoint)
    if address.scheme != "http":
        pytest.skip("the proxy reads no TLS")
    with FaultProxy(str(address.hostname), address.port or 80) as proxy:
        yield proxy


@pytest.fixture
async def documents(
    proxy: FaultProxy, cosmos_connection: CosmosConnection
) -> AsyncIterator[CosmosDocuments]:
    proxy.fault = None
    connection = CosmosConnection(f"http://127.0.0.1:{proxy.port}", key=cosmos_connection.key)
    client = cosmos_client(connection, _PATIENCE)
    await create_containers(client, "faults")
    documents = CosmosDocuments(client, "faults")
    yield documents
    proxy.fault = None
    await documents.close()


async def test_slow_is_only_slow(documents: CosmosDocuments, proxy: FaultProxy) -> None:
    proxy.fault = Slow(2)
    await _create(documents, "slow")
    assert (await _number(documents, "slow")) == 0


async def test_busy_once_is_waited_for(documents: CosmosDocuments, proxy: FaultProxy) -> None:
    proxy.fault = Once(_BUSY)
    await _create(documents, "once")
    assert (await _number(documents, "once")) == 0


async def test_busy_for_long_is_told(documents: CosmosDocuments, proxy: FaultProxy) -> None:
    await _create(documents, "busy")
    proxy.fault = _BUSY
    for work in (_number(documents, "busy"), _create(documents, "busy-2"), _found(documents)):
        began = time.monotonic()
        with pytest.raises(Throttled) as told:
            await work
        assert told.value.retry_after_s == pytest.approx(0.2)
        assert time.monotonic() - began < 5
    proxy.fault = None
    assert (await _number(documents, "busy")) == 0, "the same client goes on"


@pytest.mark.parametrize(
    "kind", [Answer(503), ResetRequest(), ResetAnswer(), Silent(), Silent(done=True)], ids=str
)
async def test_away_is_told_in_time_and_over_without_restart(
    documents: CosmosDocuments, proxy: FaultProxy, kind: Answer
) -> None:
    name = f"away-{abs(hash(str(kind)))}"
    await _create(documents, name)
    proxy.fault = kind
    began = time.monotonic()
    work = (_number(documents, name), _add(documents, name), _found(documents))
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    assert [isinstance(one, Unavailable | Throttled) for one in outcomes] == [True] * 3, outcomes
    assert time.monotonic() - began < _PATIENCE.call_s + 5
    proxy.fault = None
    assert (await _number(documents, name)) in (0, 1), "whether it was done is unknown; once it is"


async def test_a_write_whose_answer_is_lost_is_not_done_twice(
    documents: CosmosDocuments, proxy: FaultProxy
) -> None:
    await _create(documents, "twice")
    proxy.fault = Once(ResetAnswer())
    with suppress(Unavailable):
        await _add(documents, "twice")
    proxy.fault = None
    assert (await _number(documents, "twice")) == 1


async def test_a_create_whose_answer_is_lost_is_not_called_a_conflict(
    documents: CosmosDocuments, proxy: FaultProxy
) -> None:
    proxy.fault = Once(ResetAnswer())
    with pytest.raises(Unavailable):
        await _create(documents, "conflict")
    proxy.fault = None
    assert (await _number(documents, "conflict")) == 0
    with pytest.raises(OperationRefused):
        await _create(documents, "conflict")


async def test_a_replace_whose_answer_is_lost_is_not_called_changed(
    documents: CosmosDocuments, proxy: FaultProxy
) -> None:
    await _create(documents, "replace")
    found = await documents.get(INDEX.name, "faults", "replace")
    assert found is not None
    proxy.fault = Once(ResetAnswer())
    with pytest.raises(Unavailable):
        await documents.commit(
            INDEX.name, "faults", [Replace({**found.body, "number": 7}, found.etag)]
        )
    proxy.fault = None
    assert (await _number(documents, "replace")) == 7


def test_a_search_is_503_while_cosmos_is_busy(
    proxy: FaultProxy,
    cosmos_connection: CosmosConnection,
    new_account: Callable[[], str],
    tmp_path: Path,
) -> None:
    proxy.fault = None

    async def containers() -> None:
        async with cosmos_client(cosmos_connection) as client:
            await create_containers(client, "dicom-main")

    asyncio.run(containers())
    environment = {
        "DicomCosmos__accountEndpoint": f"http://127.0.0.1:{proxy.port}",
        "DicomCosmos__accountKey": str(cosmos_connection.key),
        "DICOM_SQLITE_DIRECTORY": "",
        "DICOM_STORE_TRIES": "1",
    }
    with Server(
        connection=new_account(), data=tmp_path, seed=True, environment=environment
    ) as server:
        url = f"{server.base_url}/main/v2/studies?PatientID=none"
        assert httpx.get(url, timeout=60).status_code == 204
        proxy.fault = Answer(429, {"x-ms-retry-after-ms": "1200"})
        busy = httpx.get(url, timeout=60)
        assert (busy.status_code, busy.headers["Retry-After"]) == (503, "2")
        proxy.fault = None
        assert httpx.get(url, timeout=60).status_code == 204


async def _create(documents: CosmosDocuments, name: str) -> None:
    body = {"id": name, "pk": "faults", "type": "faults", "number": 0}
    await documents.commit(INDEX.name, "faults", [Create(body)])


async def _add(documents: CosmosDocuments, name: str) -> None:
    await documents.commit(INDEX.name, "faults", [Patch(name, add={("number",): 1})])


async def _number(documents: CosmosDocuments, name: str) -> int:
    found = await documents.get(INDEX.name, "faults", name)
    assert found is not None
    return int(found.body["number"])


async def _found(documents: CosmosDocuments) -> int:
    where = Eq(("type",), "faults")
    return len(await documents.query(INDEX.name, where, limit=100, partition="faults"))
