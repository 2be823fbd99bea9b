"""A client of the store transaction, and how its answers are read."""

from __future__ import annotations

import re
from typing import Any

import httpx

from tests.support.dicom import element, part10, splice
from tests.support.requests import DICOM, MULTIPART, multipart

WHOLE = {"Accept": "application/dicom; transfer-syntax=*"}


class StoreClient:
    """Requests to one version."""

    def __init__(self, http: httpx.Client, major: int) -> None:
        self.http = http
        self.base = re.sub("v2/?$", f"v{major}", str(http.base_url))

    def store(
        self, *files: bytes, study: str | None = None, method: str = "POST", **headers: str
    ) -> httpx.Response:
        """Store files, as one body or as parts."""
        path = "/studies" if study is None else f"/studies/{study}"
        if len(files) == 1:
            return self.send(files[0], DICOM | headers, path, method)
        return self.send(multipart(files), MULTIPART | headers, path, method)

    def send(
        self, content: bytes, headers: dict[str, str], path: str = "/studies", method: str = "POST"
    ) -> httpx.Response:
        """Send a body."""
        return self.http.request(method, self.base + path, content=content, headers=headers)

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Get a resource of the version."""
        return self.http.get(self.base + path, headers=headers)

    def metadata(self, ds: Any) -> dict[str, Any]:
        """The metadata of an instance."""
        [row] = self.get(f"{path_of(ds)}/metadata").json()
        found: dict[str, Any] = row
        return found

    def file(self, ds: Any) -> bytes:
        """The file of an instance, as stored."""
        return self.get(path_of(ds), **WHOLE).content


def path_of(ds: Any) -> str:
    """The path of an instance."""
    return (
        f"/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}"
        f"/instances/{ds.SOPInstanceUID}"
    )


def stored(answer: httpx.Response) -> list[dict[str, Any]]:
    """The items of ReferencedSOPSequence."""
    found: list[dict[str, Any]] = answer.json().get("00081199", {}).get("Value", [])
    return found


def failed(answer: httpx.Response) -> list[dict[str, Any]]:
    """The items of FailedSOPSequence."""
    found: list[dict[str, Any]] = answer.json().get("00081198", {}).get("Value", [])
    return found


def reasons(answer: httpx.Response) -> list[int]:
    """The FailureReason of each failed item."""
    return [item["00081197"]["Value"][0] for item in failed(answer)]


def comments(item: dict[str, Any]) -> list[str]:
    """The ErrorComments of an item."""
    return [each["00000902"]["Value"][0] for each in item["00741048"].get("Value", [])]


def with_element(ds: Any, tag: int, vr: str, value: bytes) -> bytes:
    """The file of a data set with one element in another form."""
    return splice(part10(ds), element(tag, vr, value))
