"""Whether a resource is valid, by ``fhir.resources``, before it is sent.

The library is loaded on first use: it costs a third of a second. Values are not taken from it,
only its verdict, so that what others wrote into a resource comes back as it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from shared.cast.failures import Refused
from shared.cast_settings import FhirVersion
from shared.ports import JsonObject

_MODULES = {"R4": "fhir.resources.R4B", "R5": "fhir.resources"}
_MOST_NAMED = 5


async def check(resources: Sequence[JsonObject], version: FhirVersion) -> None:
    """Check resources, beside the loop: thousands of series take a while.

    Raises
    ------
    Refused
        One is invalid; the error names the members, never their values.
    """
    await asyncio.to_thread(_check, resources, version)


def _check(resources: Sequence[JsonObject], version: FhirVersion) -> None:
    from pydantic import ValidationError

    for resource in resources:
        try:
            _model(resource["resourceType"], version).model_validate(resource)
        except ValidationError as error:
            places = [
                f"{'.'.join(map(str, one['loc']))}: {one['type']}"
                for one in error.errors(include_url=False, include_context=False)[:_MOST_NAMED]
            ]
            raise Refused(f"{resource['resourceType']} is invalid: {'; '.join(places)}") from None


def _model(kind: str, version: FhirVersion) -> Any:
    return getattr(import_module(f"{_MODULES[version]}.{kind.lower()}"), kind)
