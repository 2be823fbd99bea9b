"""App settings: those that Bicep sets, and those that code reads."""

from __future__ import annotations

import json
from functools import cache

from tests.support.infra.source import ROOT, Infra, members, reads, walk

_API = "infra/app/api.bicep"
_NAME = r'"((?:DICOM_|DicomStorage|DicomCosmos)\w*)"'

OF_THE_HOST = {
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__queueServiceUri",
    "AzureWebJobsStorage__tableServiceUri",
    "AzureWebJobsStorage__credential",
    "AzureWebJobsStorage__clientId",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT",
    "DicomStorage__credential",  # the triggers' connection
}
"""Read by the Functions host, not by our code."""

_OF_ONE_MACHINE = "there is no such thing in Azure: identities sign in, and the index is Cosmos"
_BY_DEFAULT = "its default holds for each deployment; infra/settings.json changes it"
LEFT = {
    "DicomStorage": _OF_ONE_MACHINE,
    "DicomCosmos__accountKey": _OF_ONE_MACHINE,
    "DICOM_SQLITE_DIRECTORY": _OF_ONE_MACHINE,
    "DICOM_AUDIT_FILE": "the audit log goes to Application Insights",
    "DICOM_ROLES_FILE": "a file would have to be in the package",
    "DICOM_CAST": "without a FHIR server there is none, and its timer does not run",
    "DICOM_WEBHOOK_HOSTS": "none: whoever wants webhooks names their hosts",
    "DICOM_EVENTGRID_ENDPOINT": "none: the topic is the operator's",
    "DICOM_EXPORT_HOSTS": "any public account, by signature or by a role that its owner gives",
    "DICOM_EXPORT_CREDENTIALS": _BY_DEFAULT,
    "DICOM_EXPORT_CONCURRENCY": _BY_DEFAULT,
    "DICOM_ROLES_CLAIM": "Entra ID says roles",
    "DICOM_OWNER_ROLES": "those that the hook registers",
    "DICOM_READER_ROLES": "those that the hook registers",
    "DICOM_ADMIN_ROLES": "those that the hook registers",
    "DICOM_CORS_MAX_AGE_SECONDS": _BY_DEFAULT,
    "DICOM_RETENTION_DAYS": _BY_DEFAULT,
    "DICOM_WORKITEM_RETENTION_DAYS": _BY_DEFAULT,
    "DICOM_COMMIT_GRACE_SECONDS": _BY_DEFAULT,
    "DICOM_CAST_SCHEDULE": _BY_DEFAULT,
    "DICOM_SWEEP_SCHEDULE": _BY_DEFAULT,
    "DICOM_STORE_SILENCE_SECONDS": _BY_DEFAULT,
    "DICOM_STORE_TRIES": _BY_DEFAULT,
    "DICOM_REQUEST_SECONDS": _BY_DEFAULT,
    "DICOM_MAX_REQUEST_BYTES": _BY_DEFAULT,
    "DICOM_MAX_INSTANCE_BYTES": _BY_DEFAULT,
    "DICOM_MAX_PARTS": _BY_DEFAULT,
    "DICOM_MAX_HEADER_BYTES": _BY_DEFAULT,
    "DICOM_MAX_NESTING": _BY_DEFAULT,
    "DICOM_MAX_ELEMENTS": _BY_DEFAULT,
    "DICOM_MAX_METADATA_BYTES": _BY_DEFAULT,
    "DICOM_MAX_BULK_DATA_BYTES": _BY_DEFAULT,
    "DICOM_MAX_FRAMES": _BY_DEFAULT,
    "DICOM_MAX_SEARCH_LIMIT": _BY_DEFAULT,
    "DICOM_MAX_RENDERED_PIXELS": _BY_DEFAULT,
}
"""Read by code, not set by Bicep, and why."""

_NOT_ON_FLEX = {
    "ENABLE_ORYX_BUILD",
    "FUNCTIONS_EXTENSION_VERSION",
    "FUNCTIONS_MAX_HTTP_CONCURRENCY",
    "FUNCTIONS_WORKER_DYNAMIC_CONCURRENCY_ENABLED",
    "FUNCTIONS_WORKER_PROCESS_COUNT",
    "FUNCTIONS_WORKER_RUNTIME",
    "FUNCTIONS_WORKER_RUNTIME_VERSION",
    "SCM_DO_BUILD_DURING_DEPLOYMENT",
    "WEBSITE_CONTENTAZUREFILECONNECTIONSTRING",
    "WEBSITE_CONTENTSHARE",
    "WEBSITE_MAX_DYNAMIC_APPLICATION_SCALE_OUT",
    "WEBSITE_RUN_FROM_PACKAGE",
    "WEBSITE_VNET_ROUTE_ALL",
}


def settings_set(infra: Infra) -> dict[str, str]:
    """App settings that Bicep makes, with the text of their values."""
    file = infra.bicep[_API]
    body = next(
        one for one in walk(file.declarations("variable")["settings"]) if one.type == "object"
    )
    found = {name: (node.text or b"").decode() for name, node in members(body).items()}
    site = next(
        one for one in walk(file.declarations("resource")["appSettings"]) if one.type == "object"
    )
    for node in walk(members(site)["properties"]):
        if node.type == "object":
            found |= {name: (value.text or b"").decode() for name, value in members(node).items()}
    return found


@cache
def settings_read() -> frozenset[str]:
    """Names of settings in the code of the app."""
    files = [path for folder in ("shared", "functions") for path in (ROOT / folder).rglob("*.py")]
    return frozenset().union(*(reads(path.read_text("utf-8"), _NAME) for path in files)) - {
        "DICOM_JSON"
    }


def check_settings(infra: Infra) -> list[str]:
    """Each is set and read, or there is a reason why not."""
    made, read = settings_set(infra), settings_read()
    more = json.loads(infra.texts["infra/settings.json"])
    found = [f"{one}: no code reads it" for one in sorted(made.keys() - read - OF_THE_HOST)]
    found += [f"{one}: neither set nor left" for one in sorted(read - made.keys() - LEFT.keys())]
    found += [f"{one}: left, and not read" for one in sorted(LEFT.keys() - read)]
    found += [f"{one}: left, and set" for one in sorted(LEFT.keys() & made.keys())]
    found += [f"{one}: no code reads it" for one in sorted(more.keys() - read)]
    found += [f"{one}: Bicep sets it" for one in sorted(more.keys() & made.keys())]
    found += [f"{one}: the host lacks it" for one in sorted(OF_THE_HOST - made.keys())]
    found += [f"{one}: not on Flex Consumption" for one in sorted(_NOT_ON_FLEX & made.keys())]
    if made.get("DICOM_SIGN_IN") != "'required'":
        found.append("DICOM_SIGN_IN: whoever calls would be let in")
    return found
