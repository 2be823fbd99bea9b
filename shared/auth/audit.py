"""The record of each access (spec partitions-and-security.md §4).

Each request that is refused at the door leaves one entry, ``Executed``; each that comes in leaves
``Executing`` before its work and ``Executed`` after the last byte of its answer, also when it
fails or its client goes away. An entry is one line of JSON in the log ``audit``.

Addresses are recorded without what could be of a patient: values of queries, and parts of paths
that are no UID, number or name that the service knows.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared.auth.roles import Principal
from shared.errors import MalformedRequest

LOG = logging.getLogger("audit")
LOG.setLevel(logging.INFO)

PREFIX = "x-ms-azuredicom-audit-"
MOST_HEADERS = 10
MOST_CHARACTERS = 2_048
_FIRST_REFUSED = 400


def write_to(file: Path) -> None:
    """Append the log to a file in place of the usual logs, for a machine that collects none.

    Each line is written before the next; on a local disk that takes microseconds.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(file, encoding="utf-8")
    LOG.addHandler(handler)
    LOG.propagate = False


def custom_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What the caller wants to have recorded.

    Parameters
    ----------
    headers : iterable
        Names in lower case, and values, of all headers of the request.

    Raises
    ------
    MalformedRequest
        They are more than ten, or one has more than 2048 characters.
    """
    found = [(name, value) for name, value in headers if name.startswith(PREFIX)]
    if len(found) > MOST_HEADERS:
        raise MalformedRequest(f"There may be at most {MOST_HEADERS} headers {PREFIX.upper()}*.")
    if any(len(value) > MOST_CHARACTERS for _, value in found):
        raise MalformedRequest(
            f"A header {PREFIX.upper()}* may have at most {MOST_CHARACTERS} characters."
        )
    return dict(found)


def record_operation(action: str, resource: dict[str, str], status: int | None = None) -> None:
    """An entry of an operation that works on patients' data long after its request.

    Parameters
    ----------
    action : str
        As the specification calls it.
    resource : dict
        What it works on, and its id as ``operation``.
    status : int or None
        At its end; ``None`` at its beginning, which a crash may let be recorded twice.
    """
    entry: dict[str, Any] = {
        "ActionType": "Executing" if status is None else "Executed",
        "EventType": "AuditEvent",
        "Time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "Action": action,
        "CorrelationId": resource["operation"],
        "Resource": resource,
    }
    if status is not None:
        entry["StatusCode"] = status
        entry["ResultType"] = "Succeeded" if status < _FIRST_REFUSED else "Failed"
    LOG.info(json.dumps(entry, separators=(",", ":")))


@dataclass(slots=True)
class Trail:
    """What is recorded of one request.

    Parameters
    ----------
    action : str
        As the table of functions calls it.
    function, method, uri : str
        What was called, in the form that may be recorded.
    correlation_id : str
        By which the other logs name the request.
    caller_ip : str
        Where it came from.
    resource : dict
        Tenant, partition and UIDs of the address.
    request_bytes : int or None
        Length of its body, if it says so.
    authority, audience : str
        From the settings.
    """

    action: str
    function: str
    method: str
    uri: str
    correlation_id: str
    caller_ip: str
    resource: dict[str, str]
    request_bytes: int | None
    authority: str = ""
    audience: str = ""
    principal: Principal | None = None
    custom: dict[str, str] = field(default_factory=dict)
    _began: float = field(default_factory=time.perf_counter)
    _ended: bool = False

    def executing(self) -> None:
        """The caller is in, and the work begins."""
        self._write("Executing", {})

    def executed(self, status: int, sent_bytes: int, *, complete: bool = True) -> None:
        """The answer has been sent, or as much of it as could be. The first call counts.

        Parameters
        ----------
        status : int
            Of the answer.
        sent_bytes : int
            Of its body.
        complete : bool
            Whether the answer was sent to its end.
        """
        if self._ended:
            return
        self._ended = True
        succeeded = complete and status < _FIRST_REFUSED
        self._write(
            "Executed",
            {
                "StatusCode": status,
                "ResultType": "Succeeded" if succeeded else "Failed",
                "Complete": complete,
                "ResponseBytes": sent_bytes,
                "DurationMs": round((time.perf_counter() - self._began) * 1000, 1),
            },
        )

    def _write(self, kind: str, outcome: dict[str, Any]) -> None:
        claims = self.principal.claims if self.principal is not None else {}
        entry = {
            "ActionType": kind,
            "EventType": "AuditEvent",
            "Time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "Action": self.action,
            "Function": self.function,
            "Method": self.method,
            "RequestUri": self.uri,
            **outcome,
            "CorrelationId": self.correlation_id,
            "Claims": ";".join(f"{name}={value}" for name, value in claims.items()),
            "CallerIpAddress": self.caller_ip,
            "Audience": self.audience,
            "Authority": self.authority,
            "RequestBytes": self.request_bytes,
            "Resource": self.resource,
            "CustomHeaders": self.custom,
        }
        LOG.info(json.dumps(entry, separators=(",", ":")))
