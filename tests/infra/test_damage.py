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
        "syntax names keyless properties",
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
    (
        "a role assignment is removed",
        _ROLES,
        """resource telemetry 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(insights.id, appPrincipalId, roles['Monitoring Metrics Publisher'])
  scope: insights
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId(definitions, roles['Monitoring Metrics Publisher'])
  }
}
""",
        "",
        "roles",
    ),
    (
        "a role has another role's id",
        "infra/roles.json",
        "db58b8e5-c6ad-4a2a-8342-4190687cbf4a",
        "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
        "roles",
    ),
    (
        "a role is named that nobody has",
        "infra/roles.json",
        "{\n",
        '{ "Storage Blob Data Reader": "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",\n',
        "roles",
    ),
    ("a role of all queues", _ROLES, "scope: queues[i]", "scope: archive", "roles"),
    ("a role of all files", _ROLES, "scope: files[i]", "scope: archive", "roles"),
    (
        "Owner where Contributor does",
        _ROLES,
        ": roles['Storage Blob Data Contributor']",
        ": roles['Storage Blob Data Owner']",
        "roles",
    ),
    ("a role that is always given", _ROLES, "= if (!empty(deployerPrincipalId)) {", "= {", "roles"),
    (
        "a role of all databases",
        _ROLES,
        "scope: '${cosmos.id}/dbs/dicom-${tenant}'",
        "scope: cosmos.id",
        "roles",
    ),
    (
        "a role with another name at each deployment",
        _ROLES,
        "guid(vault.id, appPrincipalId, roles['Key Vault Secrets User'])",
        "guid(deployment().name)",
        "names roles",
    ),
    (
        "the topic may read the queue",
        _EVENTS,
        "guid(queue.id, topic.id, roles['Storage Queue Data Message Sender'])\n  scope: queue",
        "guid(queue.id, topic.id, roles['Storage Queue Data Message Sender'])\n  scope: archive",
        "roles",
    ),
    (
        "a key is listed",
        _ARCHIVE,
        "output name string = account.name",
        "output key string = account.listKeys().keys[0].value\noutput name string = account.name",
        "keyless",
    ),
    (
        "a key is a setting",
        _API,
        "  // the host\n",
        "  AzureWebJobsStorage: 'AccountName=dicom;AccountKey=${name}'\n",
        "settings keyless",
    ),
    (
        "keys of the archive work",
        _ARCHIVE,
        "allowSharedKeyAccess: false",
        "allowSharedKeyAccess: true",
        "keyless",
    ),
    (
        "keys of the index work",
        "infra/app/cosmos.bicep",
        "    disableLocalAuth: true // there is no key to be lost\n",
        "",
        "keyless",
    ),
    (
        "files are open to all",
        _ARCHIVE,
        "name: 'dicom-${tenant}'\n  properties: { publicAccess: 'None' }",
        "name: 'dicom-${tenant}'\n  properties: { publicAccess: 'Blob' }",
        "keyless",
    ),
    (
        "deployment by password",
        _API,
        "properties: { allow: false }",
        "properties: { allow: true }",
        "keyless",
    ),
    (
        "tags are dropped",
        "infra/app/monitoring.bicep",
        "  name: workspaceName\n  location: location\n  tags: tags\n",
        "  name: workspaceName\n  location: location\n",
        "tags",
    ),
    ("azd does not find the group", _MAIN, "'azd-env-name'", "'env-name'", "tags"),
    (
        "azd does not find the app",
        _API,
        "'azd-service-name': 'api'",
        "'azd-service-name': 'web'",
        "project",
    ),
    (
        "a hook's path is wrong",
        "azure.yaml",
        "infra/hooks/postdeploy.py",
        "infra/hooks/afterdeploy.py",
        "project",
    ),
    (
        "a hook of a step that azd has not",
        "azure.yaml",
        "  postdeploy:",
        "  postdeployment:",
        "project",
    ),
    ("a field that azd has not", "azure.yaml", "remoteBuild: true", "remotebuild: true", "project"),
    ("another main module", "azure.yaml", "module: main", "module: index", "project"),
    ("code is not packed", ".funcignore", "tests/\n", "tests/\nshared/\n", "package"),
    ("tests are packed", ".funcignore", "tests/\n", "", "package"),
    (
        "a setting of the site that Flex Consumption refuses",
        _API,
        "http20Enabled: true",
        "linuxFxVersion: 'Python|3.13'",
        "package properties",
    ),
    (
        "a property is misspelt",
        _API,
        "perInstanceConcurrency:",
        "perInstancConcurrency:",
        "properties",
    ),
    (
        "a property within a choice is misspelt",
        "infra/app/cosmos.bicep",
        "autoscaleSettings:",
        "autoScaleSettings:",
        "properties",
    ),
    ("a property of another resource", _EVENTS, "retryPolicy:", "retentionPolicy:", "properties"),
    ("any azd will do", "azure.yaml", 'azd: ">= 1.24.2"', 'azd: ">= 1.0.0"', "project"),
    (
        "a folder within the code is not packed",
        ".funcignore",
        "tests/\n",
        "tests/\nstore/\n",
        "package",
    ),
    ("what git leaves out is packed", ".funcignore", ".hypothesis/\n", "", "package"),
    (
        "an output that a hook asks for is renamed",
        _MAIN,
        "output DICOM_BLOB_EVENT_TOPIC",
        "output BLOB_EVENT_TOPIC",
        "outputs",
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
