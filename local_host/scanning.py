"""New blobs of a container, found by listing it again and again.

References
----------
Storage REST API, List Blobs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import unquote
from xml.etree import ElementTree as ET

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.blob import ContainerClient

from local_host.invocations import Activity, log
from local_host.receipts import Receipt, Receipts, receipt

_BUSY_WAIT_S = 1.0
_IDLE_WAIT_S = 5.0
_LONGEST_WAIT_S = 300.0
_REST_FACTOR = 20.0
MOST_FOUND = 2_000
_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class FoundBlob:
    """One blob of a listing. ``length`` in bytes."""

    name: str
    etag: str
    length: int

    @property
    def receipt(self) -> Receipt:
        """Identity of this version of it."""
        return receipt(self.name, self.etag)


def read_listing(page: bytes) -> Iterator[FoundBlob]:
    """The blobs of one page of List Blobs (REST API, XML)."""
    # the SDK's own models cost ten times as much; the document is the storage account's
    for blob in ET.fromstring(page).iter("Blob"):  # noqa: S314
        name = blob.find("Name")
        properties = blob.find("Properties")
        if name is None or properties is None:
            continue
        text = name.text or ""
        yield FoundBlob(
            unquote(text) if name.get("Encoded") == "true" else text,
            properties.findtext("Etag", "").strip('"'),
            int(properties.findtext("Content-Length", "0")),
        )


class Scan:
    """Finds the blobs of a container that were not dealt with yet.

    Parameters
    ----------
    source : str
        Whom the receipts are of; it is named in the log.
    prefix : str
        How the blobs' names begin.
    wanted : Callable
        Whether a blob of that name counts.
    receipts : Receipts
        What was dealt with before.
    """

    def __init__(
        self, source: str, prefix: str, wanted: Callable[[str], bool], receipts: Receipts
    ) -> None:
        self._source = source
        self._prefix = prefix
        self._wanted = wanted
        self._receipts = receipts
        self._done: set[Receipt] = receipts.load(source)
        self._under_way: set[Receipt] = set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scan")

    async def find(self, container: ContainerClient) -> list[FoundBlob]:
        """Blobs that are neither done nor under way, at most ``MOST_FOUND``; now under way."""
        try:
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._thread, self._list_new, container)
        except ResourceNotFoundError:
            return []  # the container may come
        except AzureError as error:
            log.warning("%s: the container: %s", self._source, type(error).__name__)
            return []
        self._under_way.update(blob.receipt for blob in found)
        return found

    def done(self, blob: FoundBlob) -> None:
        """Do not find this version again."""
        self._done.add(blob.receipt)
        self._receipts.add(self._source, blob.receipt)

    def release(self, blob: FoundBlob) -> None:
        """It is no longer under way: found again, unless it is done."""
        self._under_way.discard(blob.receipt)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _list_new(self, container: ContainerClient) -> list[FoundBlob]:
        new: list[FoundBlob] = []
        there: set[Receipt] = set()
        pages: list[bytes] = []
        names = container.list_blob_names(
            name_starts_with=self._prefix or None,
            results_per_page=_PAGE,
            raw_response_hook=lambda response: pages.append(response.http_response.body()),
        )
        for _ in names.by_page():
            for blob in read_listing(pages.pop()):
                one = blob.receipt
                there.add(one)
                if one in self._done or one in self._under_way or len(new) >= MOST_FOUND:
                    continue
                if self._wanted(blob.name):
                    new.append(blob)
        gone = self._done - there
        if gone:
            self._receipts.forget(self._source, gone)
            self._done -= gone
        return new


class Pace:
    """How long to rest between scans: little while there is work, a twentieth of the time spent."""

    def __init__(self, activity: Activity) -> None:
        self._activity = activity
        self._wait_s = _BUSY_WAIT_S

    async def rest(self, began: float, found: int) -> None:
        """Wait after a scan that began at ``began`` (``time.monotonic``) and found so many."""
        least_s = min(_LONGEST_WAIT_S, _REST_FACTOR * (time.monotonic() - began))
        self._wait_s = _BUSY_WAIT_S if found else min(_IDLE_WAIT_S, self._wait_s * 1.5)
        began = time.monotonic()
        if await self._activity.wait(max(self._wait_s, least_s)):
            self._wait_s = _BUSY_WAIT_S
            rest_s = max(self._wait_s, least_s) - (time.monotonic() - began)
            await asyncio.sleep(max(0.0, rest_s))
