"""Who may do what: role assignments, and that there is no other way in than by signing in."""

from __future__ import annotations

import re

from tests.support.infra.source import Infra, Resource, reads, resources

ROLE_IDS = {
    "Key Vault Crypto Service Encryption User": "e147488a-f6f5-4113-8e2d-b22465e65bf6",
    "Key Vault Secrets User": "4633458b-17de-408a-b874-0445c86b69e6",
    "Monitoring Metrics Publisher": "3913510d-42f4-4e42-8a64-420c390055eb",
    "Storage Blob Data Contributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    "Storage Blob Data Owner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "Storage Blob Delegator": "db58b8e5-c6ad-4a2a-8342-4190687cbf4a",
    "Storage Queue Data Contributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    "Storage Queue Data Message Sender": "c6a89b2d-59bc-44d0-9896-0f6e12d7b80a",
    "Storage Table Data Contributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
    "Web PubSub Service Owner": "12cf5a90-567b-43ae-8102-96cf46c7d9b4",
}
"""Built-in roles as Azure's documentation lists them."""

_ALWAYS = ""
NEEDED = {
    ("app", "Storage Blob Data Owner", "hostStorage"): _ALWAYS,  # the host
    ("app", "Storage Table Data Contributor", "hostStorage"): _ALWAYS,
    ("app", "Storage Queue Data Contributor", "hostStorage"): "triggered",
    ("app", "files", "files[i]"): _ALWAYS,  # Contributor, or Owner for the blob trigger
    ("app", "Storage Blob Delegator", "archive"): _ALWAYS,  # links of exports
    ("app", "Storage Queue Data Contributor", "queues[i]"): _ALWAYS,  # triggers, and what they send
    ("app", "Storage Queue Data Contributor", "archive"): "triggered",
    ("app", "Storage Table Data Contributor", "rows[i]"): _ALWAYS,  # tenants, failures of DICOMcast
    ("app", "Key Vault Secrets User", "vault"): _ALWAYS,  # DICOM_SECRETS_KEY
    ("app", "Monitoring Metrics Publisher", "insights"): _ALWAYS,
    ("app", "Web PubSub Service Owner", "webPubSub"): "!empty(webPubSubName)",
    ("deployer", "Storage Table Data Contributor", "registry"): "!empty(deployerPrincipalId)",
    ("topic", "Storage Queue Data Message Sender", "queue"): _ALWAYS,
    ("topic", "Storage Blob Data Contributor", "deadLetterContainer"): _ALWAYS,
    ("encryption", "Key Vault Crypto Service Encryption User", "key"): "customerManagedKey",
}
"""Who needs which role where, and under what condition. No other is given."""

_WHO = {
    "appPrincipalId": "app",
    "deployerPrincipalId": "deployer",
    "topic.identity.principalId": "topic",
    "encryptionPrincipalId": "encryption",
}
_FILES_ROLE = (
    "var filesRole = triggered ? roles['Storage Blob Data Owner'] "
    ": roles['Storage Blob Data Contributor']"
)
_ASSIGNMENT = "Microsoft.Authorization/roleAssignments"

_LOCKED = {
    "Microsoft.Storage/storageAccounts": {
        "properties.allowSharedKeyAccess": "false",
        "properties.allowBlobPublicAccess": "false",
        "properties.allowCrossTenantReplication": "false",
        "properties.defaultToOAuthAuthentication": "true",
        "properties.minimumTlsVersion": "'TLS1_2'",
        "properties.supportsHttpsTrafficOnly": "true",
        "properties.publicNetworkAccess": "publicNetworkAccess",
    },
    "Microsoft.Storage/storageAccounts/blobServices/containers": {
        "properties.publicAccess": "'None'"
    },
    "Microsoft.DocumentDB/databaseAccounts": {
        "properties.disableLocalAuth": "true",
        "properties.disableKeyBasedMetadataWriteAccess": "true",
        "properties.minimalTlsVersion": "'Tls12'",
        "properties.publicNetworkAccess": "publicNetworkAccess",
    },
    "Microsoft.Web/sites": {
        "properties.httpsOnly": "true",
        "properties.publicNetworkAccess": "publicNetworkAccess",
        "properties.siteConfig.minTlsVersion": "'1.2'",
        "properties.keyVaultReferenceIdentity": "identityId",
    },
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": {"properties.allow": "false"},
    "Microsoft.KeyVault/vaults": {
        "properties.enableRbacAuthorization": "true",
        "properties.enablePurgeProtection": "true",
        "properties.publicNetworkAccess": "publicNetworkAccess",
    },
    "Microsoft.Insights/components": {"properties.DisableLocalAuth": "true"},
    "Microsoft.OperationalInsights/workspaces": {"properties.features.disableLocalAuth": "true"},
    "Microsoft.SignalRService/webPubSub": {
        "properties.disableLocalAuth": "true",
        "properties.publicNetworkAccess": "publicNetworkAccess",
    },
}
"""What closes each kind of resource to all but identities."""

_SECRET = re.compile(
    r"\blist\w*\(|listKeys|getSecret\(|@secure|AccountKey|AccessKey\s*=|primaryKey|secondaryKey"
    r"|primaryMasterKey|password|sig=|(?<!APPLICATIONINSIGHTS_)CONNECTION_STRING"
    r"|(?<!insights\.properties\.)ConnectionString|[A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{86}==",
    re.IGNORECASE,
)
_WITHOUT_TAGS = {
    "Microsoft.Authorization/roleAssignments",
    "Microsoft.Consumption/budgets",
    "Microsoft.DocumentDB/databaseAccounts/sqlDatabases",
    "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers",
    "Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments",
    "Microsoft.EventGrid/systemTopics/eventSubscriptions",
    "Microsoft.Insights/diagnosticSettings",
    "Microsoft.KeyVault/vaults/keys",
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups",
    "Microsoft.Storage/storageAccounts/blobServices",
    "Microsoft.Storage/storageAccounts/blobServices/containers",
    "Microsoft.Storage/storageAccounts/managementPolicies",
    "Microsoft.Storage/storageAccounts/queueServices",
    "Microsoft.Storage/storageAccounts/queueServices/queues",
    "Microsoft.Storage/storageAccounts/tableServices",
    "Microsoft.Storage/storageAccounts/tableServices/tables",
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies",
    "Microsoft.Web/sites/config",
}
"""Parts of another resource, which are found with it."""


def check_roles(infra: Infra) -> list[str]:
    """Each role is the one that it is called, and who needs one has it, and no other."""
    stated = infra.json("infra/roles.json")
    found = [
        f"{one}: {id_} is another role" for one, id_ in stated.items() if ROLE_IDS.get(one) != id_
    ]
    texts = {file.path: file.text for file in infra.bicep.values()}
    used = set().union(*(reads(text, r"\broles\['([^']+)'\]") for text in texts.values()))
    found += [f"{one}: nobody has this role" for one in sorted(stated.keys() - used)]
    given: dict[tuple[str, str, str], str] = {}
    for one in resources(infra):
        if one.type == _ASSIGNMENT:
            key = _who_what_where(one)
            given[key] = _condition(one)
            found += _form(one, key)
    found += [f"not given: {one}" for one in NEEDED if one not in given]
    found += [f"not needed: {one}" for one in given if one not in NEEDED]
    found += [
        f"{one}: if {given[one] or 'always'}"
        for one in NEEDED.keys() & given.keys()
        if NEEDED[one] != given[one]
    ]
    if _FILES_ROLE not in texts["infra/app/roles.bicep"]:
        found.append("files: without the blob trigger Contributor does")
    return found + _cosmos(infra)


def _who_what_where(assignment: Resource) -> tuple[str, str, str]:
    principal = assignment.get("properties", "principalId") or ""
    definition = assignment.get("properties", "roleDefinitionId") or ""
    role = re.search(r"roles\['([^']+)'\]", definition)
    what = role[1] if role else "files" if definition.endswith("filesRole)") else definition
    return _WHO.get(principal, principal), what, assignment.get("scope") or "the resource group"


def _condition(assignment: Resource) -> str:
    match = re.search(r"= if \((.*)\) \{$", assignment.declaration)
    return match[1] if match else ""


def _form(assignment: Resource, key: tuple[str, str, str]) -> list[str]:
    """A name that is the same at each deployment, and what lets Entra ID take its time."""
    found = []
    kind = None if key[0] == "deployer" else "'ServicePrincipal'"
    if assignment.get("properties", "principalType") != kind:
        found.append(f"{assignment.symbol}: principalType is not {kind}")
    name = assignment.get("name") or ""
    if not name.startswith("guid(") or name.count(",") < 2:
        found.append(f"{assignment.symbol}: its name is not made of who, what and where")
    return found


def _cosmos(infra: Infra) -> list[str]:
    """Cosmos has roles of its own: data of the tenants' databases, and nothing else."""
    wanted = {
        "principalId": "appPrincipalId",
        "roleDefinitionId": (
            "'${cosmos.id}/sqlRoleDefinitions/00000000-0000-0000-0000-000000000002'"
        ),
        "scope": "'${cosmos.id}/dbs/dicom-${tenant}'",
    }
    kind = "Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments"
    given = [one for one in resources(infra) if one.type == kind]
    if [{name: one.get("properties", name) for name in wanted} for one in given] != [wanted]:
        return ["Cosmos: the app has another role than that for the data of the tenants"]
    return []


def check_keyless(infra: Infra) -> list[str]:
    """Nothing has or takes a key, a password or a connection string; nothing is open to all."""
    found = [
        f"{path}: {match[0]}"
        for path, text in infra.texts.items()
        if path != "infra/dashboard.json"
        for match in _SECRET.finditer(text)
    ]
    there = {one.type for one in resources(infra) if not one.is_existing}
    found += [f"there is no {kind}" for kind in sorted(_LOCKED.keys() - there)]
    for one in resources(infra):
        if one.is_existing:
            continue
        for path, value in _LOCKED.get(one.type, {}).items():
            if one.get(*path.split(".")) != value:
                found.append(f"{one.file.path}: {one.symbol}: {path} is not {value}")
    if "for way in ['ftp', 'scm']" not in infra.texts["infra/app/api.bicep"]:
        found.append("api.bicep: one may deploy with a password")
    return found


def check_tags(infra: Infra) -> list[str]:
    """Each resource has the tags by which ``azd`` finds, and deletes, what it has made."""
    found = []
    for one in resources(infra):
        if one.is_existing or one.type in _WITHOUT_TAGS:
            continue
        tags = one.get("tags") or ""
        if tags != "tags" and not tags.startswith("union(tags, "):
            found.append(f"{one.file.path}: {one.symbol} has no tags")
    if "var tags = { 'azd-env-name': environmentName }" not in infra.texts["infra/main.bicep"]:
        found.append("main.bicep: azd does not find the group")
    return found
