"""Whether a resource is valid, by ``fhir.resources``, before it is sent.

The library is loaded on first use: it costs a third of a second. Values are not taken from it,
only its verdict, so that what others wrote into a resource comes back as it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from shared.cast.bundle import Entry
from shared.cast.failures import Refused
from shared.cast_settings import FhirVersion
from shared.ports import JsonObject

_MODULES = {"R4": "fhir.resources.R4B", "R5": "fhir.resources"}
_MOST_NAMED = 5


async def check(entries: Sequence[Entry], version: FhirVersion) -> None:
    """Check what is to be written, beside the loop: thousands of series take a while.

    What was invalid before we came is left to the server: it has taken it once.

    Raises
    ------
    Refused
        A resource is invalid; the error names the members, never their values.
    """
    await asyncio.to_thread(_check, entries, version)


def _check(entries: Sequence[Entry], version: FhirVersion) -> None:
    for entry in entries:
        if entry.resource is None:
            continue
        faults = _faults(entry.resource, version)
        if faults and (entry.before is None or not _faults(entry.before, version)):
            raise Refused(f"{entry.resource['resourceType']} is invalid: {'; '.join(faults)}")


def _faults(resource: JsonObject, version: FhirVersion) -> list[str]:
    """The members that are wrong, and in which way. ``meta`` is the server's."""
    from pydantic import ValidationError

    content = {name: value for name, value in resource.items() if name != "meta"}
    try:
        _model(resource["resourceType"], version).model_validate(content)
    except ValidationError as error:
        return [
            f"{'.'.join(map(str, one['loc']))}: {one['type']}"
            for one in error.errors(include_url=False, include_context=False)[:_MOST_NAMED]
        ]
    return []


def _model(kind: str, version: FhirVersion) -> Any:
    return getattr(import_module(f"{_MODULES[version]}.{kind.lower()}"), kind)
