"""Compare the properties of the Bicep files with Azure's own models, by hand.

``python -m tests.support.infra.models``, where the packages below are installed. They are too large
for each run of the tests: what was found is kept in ``properties.json``, and a test compares with
that. Models know how a property is spelt, not its type, nor in which version of the API it came.
Packages: azure-mgmt-applicationinsights, -authorization, -consumption, -cosmosdb, -eventgrid,
-keyvault, -loganalytics, -monitor below 7 (later ones have no diagnostic settings), -msi, -network,
-privatedns, -resource, -storage, -web, -webpubsub.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

from tests.support.infra.properties import KNOWN, properties
from tests.support.infra.source import the_infra

_MODELS = {
    "Microsoft.Authorization/roleAssignments": "authorization.RoleAssignmentCreateParameters",
    "Microsoft.Consumption/budgets": "consumption.Budget",
    "Microsoft.DocumentDB/databaseAccounts": "cosmosdb.DatabaseAccountCreateUpdateParameters",
    "Microsoft.DocumentDB/databaseAccounts/sqlDatabases": (
        "cosmosdb.SqlDatabaseCreateUpdateParameters"
    ),
    "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers": (
        "cosmosdb.SqlContainerCreateUpdateParameters"
    ),
    "Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments": (
        "cosmosdb.SqlRoleAssignmentCreateUpdateParameters"
    ),
    "Microsoft.EventGrid/systemTopics": "eventgrid.SystemTopic",
    "Microsoft.EventGrid/systemTopics/eventSubscriptions": "eventgrid.EventSubscription",
    "Microsoft.Insights/actionGroups": "monitor.ActionGroupResource",
    "Microsoft.Insights/components": "applicationinsights.ApplicationInsightsComponent",
    "Microsoft.Insights/diagnosticSettings": "monitor.DiagnosticSettingsResource",
    "Microsoft.Insights/metricAlerts": "monitor.MetricAlertResource",
    "Microsoft.Insights/scheduledQueryRules": "monitor.ScheduledQueryRuleResource",
    "Microsoft.Insights/webtests": "applicationinsights.WebTest",
    "Microsoft.Insights/workbooks": "applicationinsights.Workbook",
    "Microsoft.KeyVault/vaults": "keyvault.VaultCreateOrUpdateParameters",
    "Microsoft.KeyVault/vaults/keys": "keyvault.Key",
    "Microsoft.ManagedIdentity/userAssignedIdentities": "msi.Identity",
    "Microsoft.Network/privateDnsZones": "privatedns.PrivateZone",
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks": "privatedns.VirtualNetworkLink",
    "Microsoft.Network/privateEndpoints": "network.PrivateEndpoint",
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": "network.PrivateDnsZoneGroup",
    "Microsoft.Network/virtualNetworks": "network.VirtualNetwork",
    "Microsoft.OperationalInsights/workspaces": "loganalytics.Workspace",
    "Microsoft.Resources/resourceGroups": "resource.resources.ResourceGroup",
    "Microsoft.SignalRService/webPubSub": "webpubsub.WebPubSubResource",
    "Microsoft.Storage/storageAccounts": "storage.StorageAccountCreateParameters",
    "Microsoft.Storage/storageAccounts/blobServices": "storage.BlobServiceProperties",
    "Microsoft.Storage/storageAccounts/blobServices/containers": "storage.BlobContainer",
    "Microsoft.Storage/storageAccounts/managementPolicies": "storage.ManagementPolicy",
    "Microsoft.Web/serverfarms": "web.AppServicePlan",
    "Microsoft.Web/sites": "web.Site",
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": (
        "web.CsmPublishingCredentialsPoliciesEntity"
    ),
    "Microsoft.Web/sites/config": "web.StringDictionary",
}
"""Package below ``azure.mgmt``, and class; the packages are called ``azure-mgmt-`` and the same."""

Model = type[Any]
Step = tuple[tuple[str, ...], str | None, bool]
"""Names on the wire, the class behind them, and whether its keys are free."""


def _models(package: str) -> Iterator[Any]:
    base = importlib.import_module(f"azure.mgmt.{package}")
    names = [one.name for one in pkgutil.iter_modules(base.__path__)]
    for name in ["", *sorted((one for one in names if one.startswith("v20")), reverse=True)]:
        try:
            yield importlib.import_module(".".join(filter(None, [base.__name__, name, "models"])))
        except ImportError:
            continue


@cache
def _class(package: str, name: str) -> Model | None:
    found = (getattr(module, name, None) for module in _models(package))
    return next((one for one in found if isinstance(one, type)), None)


def _with_subclasses(model: Model) -> Iterator[Model]:
    yield model
    for one in model.__subclasses__():
        yield from _with_subclasses(one)


def _steps(model: Model) -> Iterator[Step]:
    """What may stand in an object of a class, or of one that is derived from it."""
    for one in _with_subclasses(model):
        for key in getattr(one, "_attribute_map", {}).values():
            wire = tuple(part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", key["key"]))
            classes = re.findall(r"[A-Za-z]\w+", key["type"])
            yield wire, classes[-1] if classes else None, key["type"].startswith("{")
        for base in one.__mro__:
            notes = inspect.get_annotations(base)
            for name, field in vars(base).items():
                if type(field).__name__ == "_RestField":
                    note = str(notes.get(name, ""))
                    classes = re.findall(r"models\.(?:_models\.)?(\w+)", note)
                    free = "ict[" in note
                    yield (field._rest_name_input or name,), classes[-1] if classes else None, free


def _resolve(package: str, places: list[tuple[Model, tuple[str, ...]]], path: list[str]) -> bool:
    """Whether a path leads from one of these places, each a class and names within it."""
    if not path:
        return True
    following: list[tuple[Model, tuple[str, ...]]] = []
    for model, within in places:
        wanted = (*within, path[0])
        for wire, name, free in _steps(model):
            if wire == wanted:
                if len(path) == 1 or (free and len(path) == 2):
                    return True
                inner = _class(package, name) if name else None
                if inner is not None:
                    if free and _resolve(package, [(inner, ())], path[2:]):
                        return True
                    following.append((inner, ()))
            elif wire[: len(wanted)] == wanted:
                if len(path) == 1:
                    return True
                following.append((model, wanted))
    return bool(following) and _resolve(package, following, path[1:])


def main() -> int:
    """Write what the models know; the status tells whether they know all."""
    known: dict[str, list[str]] = {}
    unknown = []
    for kind, paths in sorted(properties(the_infra()).items()):
        package, _, name = _MODELS.get(kind, "").rpartition(".")
        model = _class(package, name) if package else None
        known[kind] = []
        for path in sorted(paths):
            if model is not None and _resolve(package, [(model, ())], path.split("/")):
                known[kind].append(path)
            else:
                unknown.append(f"{kind}: {path}")
    KNOWN.write_text(json.dumps(known, indent=1) + "\n", "utf-8")
    sys.stdout.write("\n".join(["not known to the models:", *unknown, ""]) if unknown else "")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
