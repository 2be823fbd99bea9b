"""Transaction bundles, and what their answers say.

References
----------
Spec dicomcast.md §3, §9; FHIR R4 3.1.0.11 (transactions), 3.1.0.8.1 (conditional create).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from shared.cast.failures import Conflict, Refused
from shared.ports import JsonObject

_STATUS = re.compile(r"(\d{3})(?: .*)?", re.DOTALL)
_CREATED = 201
_CONFLICTS = {404, 409, 410, 412}  # 404, 410: deleted by others since it was read


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a bundle.

    ``reference`` is how others of the bundle name its resource; ``before`` is what an update
    writes over.
    """

    reference: str
    method: str
    url: str
    resource: JsonObject | None = None
    condition: str | None = None
    if_match: str | None = None
    before: JsonObject | None = None

    @property
    def conditional(self) -> bool:
        """Whether it creates only what is not there."""
        return self.condition is not None

    def to_json(self) -> JsonObject:
        """As a member of ``Bundle.entry``."""
        request = {"method": self.method, "url": self.url}
        if self.condition is not None:
            request["ifNoneExist"] = self.condition
        if self.if_match is not None:
            request["ifMatch"] = self.if_match
        entry: JsonObject = {"fullUrl": self.reference, "request": request}
        if self.resource is not None:
            entry["resource"] = self.resource
        return entry


def create(resource: JsonObject, condition: Sequence[tuple[str, str]], reference: str) -> Entry:
    """Create a resource unless the search of ``condition`` finds one."""
    written = "&".join(f"{name}={quote(value, safe='')}" for name, value in condition)
    return Entry(reference, "POST", resource["resourceType"], resource, condition=written)


def update(before: JsonObject, resource: JsonObject) -> Entry:
    """Write over a resource if nobody else has since it was read."""
    reference = reference_of(before)
    version = before["meta"]["versionId"]
    return Entry(reference, "PUT", reference, resource, if_match=f'W/"{version}"', before=before)


def delete(resource: JsonObject) -> Entry:
    """Remove a resource."""
    reference = reference_of(resource)
    return Entry(reference, "DELETE", reference)


def new_reference() -> str:
    """A name for a resource that the bundle creates; the server puts the real one in its place."""
    return f"urn:uuid:{uuid.uuid4()}"


def reference_of(resource: JsonObject) -> str:
    """The reference to a resource that is there."""
    return f"{resource['resourceType']}/{resource['id']}"


def escaped(value: str) -> str:
    """A value within a search parameter (FHIR R4 3.1.1.4.0.4)."""
    return re.sub(r"([\\,|$])", r"\\\1", value)


def token(system: str, value: str) -> str:
    """A token to search for; no system: one without."""
    return f"{escaped(system)}|{escaped(value)}"


def bundle(entries: Sequence[Entry]) -> JsonObject:
    """A transaction."""
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [entry.to_json() for entry in entries],
    }


def read_answer(entries: Sequence[Entry], answer: Any) -> None:
    """Look at each outcome of a transaction.

    Raises
    ------
    Conflict
        Someone else has made what was to be created, or changed what was to be written over.
    Refused
        The answer is not one to a transaction, or one of its entries has failed.
    """
    found = answer.get("entry") if isinstance(answer, dict) else None
    if not isinstance(found, list) or answer.get("resourceType") != "Bundle":
        raise Refused("The FHIR server's answer to a transaction is no bundle")
    if len(found) != len(entries):
        raise Refused("The FHIR server's answer has another number of entries than the transaction")
    for entry, outcome in zip(entries, found, strict=True):
        status = _status(outcome)
        if status in _CONFLICTS:
            raise Conflict(f"{entry.method} {_kind(entry)}: {status}")
        if not 200 <= status < 300:
            raise Refused(f"{entry.method} {_kind(entry)}: {status} within a transaction")
        if entry.conditional and status != _CREATED:
            raise Conflict(f"{entry.url} was created by someone else")


def _kind(entry: Entry) -> str:
    return entry.url.partition("/")[0]


def _status(outcome: Any) -> int:
    response = outcome.get("response") if isinstance(outcome, dict) else None
    written = response.get("status") if isinstance(response, dict) else None
    found = _STATUS.fullmatch(written) if isinstance(written, str) else None
    if found is None:
        raise Refused("An entry of the FHIR server's answer has no status")
    return int(found[1])
