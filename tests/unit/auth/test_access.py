"""Each function that is called over HTTP has its row in the table of rights."""

from __future__ import annotations

import json
from pathlib import Path

from shared.auth.access import ACCESS, Access, Right, access_to

_BINDINGS = Path(__file__).parents[2] / "contract" / "golden" / "bindings.json"
_AUDIT_ACTIONS = {
    "partition", "change-feed", "delete", "query", "retrieve", "retrieve-metadata",
    "retrieve-rendered", "store", "export", "operation", "add-workitem", "cancel-workitem",
    "query-workitem", "retrieve-workitem", "change-state-workitem", "update-workitem",
    "add-extended-query-tag", "remove-extended-query-tag", "get-all-extended-query-tag",
    "get-extended-query-tag", "get-extended-query-tag-errors", "update-extended-query-tag",
    "update-study", "update-study-operation", "bulk-import-store",
}  # fmt: skip
"""Those of the Azure service."""
_OUR_OWN = {
    "subscription", "undelete", "cancel-operation", "reconcile", "tenant", "fhir",
    "subscribe-workitem", "report-workitem",
}  # fmt: skip
_OPEN = {"health", "api_json", "api_yaml", "z_fallback"}


def _functions() -> set[str]:
    """The HTTP functions, without their forms for named partitions."""
    bindings = json.loads(_BINDINGS.read_text("utf-8"))
    return {
        name.removesuffix("_in_partition")
        for name, found in bindings.items()
        if any(one["type"] == "httpTrigger" for one in found)
    }


def test_each_function_has_a_row() -> None:
    missing = sorted(_functions() - ACCESS.keys())
    assert not missing, (
        f"{missing}: add each to ACCESS in shared/auth/access.py, with any of the rights that "
        "allow it and its action in the audit log (spec partitions-and-security.md §3.1, §4). "
        "Until then nobody may call it. Actions that the Azure service does not have: name them "
        "in _OUR_OWN of this test too."
    )


def test_only_these_are_open_and_all_others_are_recorded() -> None:
    for name in _functions() & ACCESS.keys():
        access = ACCESS[name]
        assert (not access.rights) == (name in _OPEN), name
        assert (access.audit is None) == (name in _OPEN), name


def test_actions_are_those_of_the_azure_service_or_named_here() -> None:
    used = {access.audit for access in ACCESS.values() if access.audit is not None}
    assert used <= _AUDIT_ACTIONS | _OUR_OWN


def test_the_form_for_a_named_partition_has_the_same_row() -> None:
    assert access_to("store_in_partition") == Access(frozenset({Right.WRITE}), "store")
    assert access_to("unknown_in_partition") is None
