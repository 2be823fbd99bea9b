"""Queues, tables, containers and events: what code uses, what Bicep makes."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from functions.indexing import BLOB_EVENTS_QUEUE
from shared.adapters.azure import cast_failures, tables
from shared.index.shapes import INSTANCES
from shared.store.importing import IMPORT
from tests.support.infra.source import ROOT, Infra, reads, resources

_POISON = "-poison"
_WHOLE = {"PutBlob", "PutBlockList", "CopyBlob"}
"""Calls of the blob service after which a blob is whole."""


@cache
def bindings() -> dict[str, list[dict[str, Any]]]:
    """The bindings of each function, as reviewed."""
    found: dict[str, list[dict[str, Any]]] = json.loads(
        (ROOT / "tests/contract/golden/bindings.json").read_text("utf-8")
    )
    return found


@cache
def queues_used() -> frozenset[str]:
    """Queues that have a trigger or that code sends to, without their poison queues."""
    used = {
        one["queueName"]
        for function in bindings().values()
        for one in function
        if one["type"] == "queueTrigger"
    }
    for folder in ("shared", "functions"):
        for path in (ROOT / folder).rglob("*.py"):
            used |= reads(path.read_text("utf-8"), r'(?m)^\w+_QUEUE(?:: Final)? = "([^"]+)"')
    return frozenset(one.removesuffix(_POISON) for one in used)


def check_queues(infra: Infra) -> list[str]:
    """Each queue and table that code uses is made, and no other."""
    layout = infra.json("infra/storage.json")
    made, used = set(layout["queues"]), queues_used()
    found = [f"queue {one}: not made" for one in sorted(used - made)]
    found += [f"queue {one}: nobody uses it" for one in sorted(made - used)]
    if set(layout["tables"]) != {tables.TABLE, cast_failures.TABLE}:
        found.append(f"tables: {layout['tables']}")
    archive = infra.texts["infra/app/archive.bicep"]
    if "flatten(map(layout.queues, queue => [queue, '${queue}-poison']))" not in archive:
        found.append("archive.bicep: poison queues are not made")
    made_by = {
        (one.type.rpartition("/")[2], one.symbol) for one in resources(infra) if not one.is_existing
    }
    for kind, symbol in (("queues", "queues"), ("tables", "tables"), ("containers", "files")):
        if (kind, symbol) not in made_by:
            found.append(f"archive.bicep: makes no {kind}")
    manual = (ROOT / "docs/operations.md").read_text("utf-8")
    found += [
        f"{one}-poison: not in operations.md"
        for one in sorted(made)
        if f"`{one}-poison`" not in manual
    ]
    return found


def check_events(infra: Infra) -> list[str]:
    """Events of exactly those blobs that the functions look at come to the queue that they read."""
    text = infra.texts["infra/app/events.bicep"]
    found = []
    if f"var eventsQueue = '{BLOB_EVENTS_QUEUE}'" not in text:
        found.append("events go to another queue than the function reads")
    triggers = [
        one["path"]
        for function in bindings().values()
        for one in function
        if one["type"] == "blobTrigger"
    ]
    folders = {path.partition("/")[2].removesuffix("{name}") for path in triggers}
    if folders != {INSTANCES, IMPORT}:
        found.append(f"blob triggers look at {sorted(folders)}")
    asked = re.search(r"key: 'Subject', operatorType: 'StringContains', values: \[([^\]]*)\]", text)
    if asked is None or set(re.findall("'([^']+)'", asked[1])) != {
        f"/blobs/{one}" for one in folders
    }:
        found.append("events of other folders than the functions look at")
    calls = re.search(r"key: 'data.api', operatorType: 'StringIn', values: \[([^\]]*)\]", text)
    if calls is None or set(re.findall("'([^']+)'", calls[1])) != _WHOLE:
        found.append("events of blobs that are not whole")
    for needed in (
        "subjectBeginsWith: '/blobServices/default/containers/dicom-'",
        "includedEventTypes: ['Microsoft.Storage.BlobCreated']",
        "deliveryWithResourceIdentity",
        "deadLetterWithResourceIdentity",
        "identity: { type: 'SystemAssigned' }",
        "dependsOn: [sends, buries]",
        "resource subscription 'Microsoft.EventGrid/systemTopics/eventSubscriptions",
    ):
        if needed not in text:
            found.append(f"events.bicep lacks {needed}")
    if "name: 'dicom-${tenant}'" not in infra.texts["infra/app/archive.bicep"]:
        found.append("containers of tenants have other names than the registry gives them")
    return found


def check_host(infra: Infra) -> list[str]:
    """``host.json`` holds what code and alerts rely on."""
    host = infra.json("host.json")
    queues = host["extensions"]["queues"]
    sampling = host["logging"]["applicationInsights"]["samplingSettings"]
    facts = {
        "addresses begin with the tenant: no route prefix": host["extensions"]["http"][
            "routePrefix"
        ]
        == "",
        "messages are sent in base64": queues["messageEncoding"] == "base64",
        "five tries, as the alerts say": queues["maxDequeueCount"] == 5,
        "failures come again after a pause": queues["visibilityTimeout"] > "00:00:00",
        "the audit log is not sampled": {"Request", "Exception", "Trace"}
        <= set(sampling["excludedTypes"].split(";")),
        "logs that alerts read are written": host["logging"]["logLevel"]["default"]
        == "Information",
        "the extension bundle that has these bindings": host["extensionBundle"][
            "version"
        ].startswith("[4."),
        "work has an end": bool(host.get("functionTimeout")),
    }
    return [f"host.json: {fact}" for fact, holds in facts.items() if not holds]
