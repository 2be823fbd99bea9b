"""A damaged deployment is found out, and by the check that is there for it."""

from __future__ import annotations

import pytest

from tests.support.infra.checks import complaints
from tests.support.infra.source import the_infra

_MAIN = "infra/main.bicep"
_API = "infra/app/api.bicep"
_ARCHIVE = "infra/app/archive.bicep"
_COSMOS = "infra/cosmos.json"
_EVENTS = "infra/app/events.bicep"
_PARAMETERS = "infra/main.parameters.json"
_ROLES = "infra/app/roles.bicep"
_STORAGE = "infra/storage.json"

DAMAGE = [
    (
        "a brace is missing",
        "infra/app/vault.bicep",
        "sku: { family: 'A', ",
        "sku: family: 'A', ",
        "syntax names",
    ),
    (
        "only one parser reads it",
        _API,
        "= '${apiClientId},api://${apiClientId}'",
        "= true\n  ? 'one'\n  : 'two'",
        "syntax",
    ),
    (
        "a name is not declared",
        _MAIN,
        "privateNetwork ? 'Disabled'",
        "privateNet ? 'Disabled'",
        "names",
    ),
    ("a function is misspelt", _ARCHIVE, "flatten(map(", "flaten(map(", "names queues"),
    (
        "a parameter is declared twice",
        _API,
        "param corsOrigins string",
        "param corsOrigins string\nparam corsOrigins string",
        "names",
    ),
    (
        "a parameter that nobody uses",
        _API,
        "param corsOrigins string",
        "param corsOrigins string\nparam more string",
        "names modules",
    ),
    (
        "a module's parameter is misspelt",
        _MAIN,
        "softDeleteDays: softDeleteDays",
        "softDeletedDays: softDeleteDays",
        "modules",
    ),
    (
        "a module's parameter is left out",
        _MAIN,
        "    maxThroughput: cosmosMaxThroughput\n",
        "",
        "modules names",
    ),
    (
        "an output is misspelt",
        _MAIN,
        "output DICOM_KEY_VAULT string = vault.outputs.name",
        "output DICOM_KEY_VAULT string = vault.outputs.nam",
        "modules",
    ),
    ("a module's file is not there", _MAIN, "'./app/vault.bicep'", "'./app/safe.bicep'", "modules"),
    ("an abbreviation is not there", "infra/abbreviations.json", '"keyVault": "kv-",', "", "files"),
    (
        "a loaded file is not there",
        "infra/app/dashboard.bicep",
        "../dashboard.json",
        "../board.json",
        "files",
    ),
    (
        "azd's default is another",
        _PARAMETERS,
        "${DICOM_SOFT_DELETE_DAYS=14}",
        "${DICOM_SOFT_DELETE_DAYS=7}",
        "parameters",
    ),
    (
        "azd does not know a parameter",
        _PARAMETERS,
        '    "webPubSub": { "value": "${DICOM_WEB_PUBSUB=false}" },\n',
        "",
        "parameters",
    ),
    ("a setting is renamed", _API, "DICOM_ADMIN_AUDIENCE:", "ADMIN_AUDIENCE:", "settings"),
    ("a setting is lost", _API, "  DICOM_CORS_ORIGINS: corsOrigins\n", "", "settings names"),
    (
        "a further setting that nobody reads",
        "infra/settings.json",
        "{\n",
        '{ "RETENTION_DAYS": "30"\n',
        "settings",
    ),
    ("sign-in is off", _API, "DICOM_SIGN_IN: 'required'", "DICOM_SIGN_IN: 'off'", "settings"),
    (
        "the connection of the triggers does not sign in",
        _API,
        "  DicomStorage__credential: 'managedidentity'\n",
        "",
        "settings",
    ),
    (
        "a setting that Flex Consumption refuses",
        _API,
        "  // the stores\n",
        "  WEBSITE_RUN_FROM_PACKAGE: '1'\n",
        "settings",
    ),
    (
        "an index path is dropped",
        _COSMOS,
        '          { "path": "/spreading/*" },',
        '          { "path": "/spreads/*" },',
        "schema queries",
    ),
    (
        "a composite index is dropped",
        _COSMOS,
        """          ],
          [
            { "path": "/series", "order": "ascending" },
            { "path": "/version", "order": "ascending" }
          ]
""",
        "          ]\n",
        "schema queries",
    ),
    ("another partition key", _COSMOS, '"/bucket",', '"/pk",', "schema"),
    (
        "unique keys that SQLite has not",
        _COSMOS,
        """"partitionKey": "/kind",
      "uniqueKeys": []""",
        """"partitionKey": "/kind",
      "uniqueKeys": [{ "paths": ["/key"] }]""",
        "schema",
    ),
    ("a queue is dropped", _STORAGE, '"purge"', '"purges"', "queues"),
    ("a table is dropped", _STORAGE, '"castfailures", ', "", "queues"),
    ("poison queues are not made", _ARCHIVE, "[queue, '${queue}-poison']", "[queue]", "queues"),
    (
        "events go to another queue",
        _EVENTS,
        "'blob-events'\n\nresource archive",
        "'events'\n\nresource archive",
        "events",
    ),
    ("events of another folder", _EVENTS, "'/blobs/import/'", "'/blobs/imports/'", "events"),
    ("events of all containers", _EVENTS, "containers/dicom-'", "containers/'", "events"),
    (
        "events of each block",
        _EVENTS,
        "['PutBlob', 'PutBlockList', 'CopyBlob']",
        "['PutBlob', 'PutBlock', 'PutBlockList', 'CopyBlob']",
        "events",
    ),
    (
        "events are sent before the topic may",
        _EVENTS,
        "  dependsOn: [sends, buries]\n",
        "",
        "events",
    ),
    (
        "messages in plain text",
        "host.json",
        '"messageEncoding": "base64"',
        '"messageEncoding": "none"',
        "host",
    ),
    (
        "the audit log is sampled",
        "host.json",
        "Request;Exception;Trace",
        "Request;Exception",
        "host",
    ),
    (
        "a prefix before all addresses",
        "host.json",
        '"routePrefix": ""',
        '"routePrefix": "api"',
        "host",
    ),
]
"""What is done, where, to what text, and which checks have to say so: they, and no others."""


@pytest.mark.parametrize(
    ("path", "old", "new", "who"),
    [pytest.param(*change, id=what) for what, *change in DAMAGE],
)
def test_damage_is_found_out(path: str, old: str, new: str, who: str) -> None:
    found = complaints(the_infra().changed(path, old, new))
    assert set(found) == set(who.split()), found
