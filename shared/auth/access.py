"""The one table of functions: which right each needs, and how the audit log calls it.

Spec partitions-and-security.md §3.1 and §4. A function that is not here is refused to everyone
once sign-in is on, and a test fails (``tests/unit/auth/test_access.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

_IN_PARTITION = "_in_partition"


class Right(Enum):
    """What a role may allow. The first five are those of the Azure service.

    ``UPDATE`` and ``WORKLIST`` are parts of ``WRITE`` (and, for reading the worklist, of
    ``READ``), for roles that are to have no more. ``TENANTS`` is over the service as a whole: no
    role of a tenant has it, and ``*`` does not include it.
    """

    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    TAGS = "manageExtendedQueryTags"
    EXPORT = "export"
    UPDATE = "update"
    WORKLIST = "worklist"
    ADMIN = "admin"
    TENANTS = "manageTenants"


OF_A_TENANT: Final = frozenset(Right) - {Right.TENANTS}
"""What ``*`` stands for."""


@dataclass(frozen=True, slots=True)
class Access:
    """What the service asks of the caller of a function.

    Parameters
    ----------
    rights : frozenset of Right
        Any one of them suffices. Empty: open, without a token.
    audit : str or None
        The action in the audit log; ``None``: not a transaction, and not recorded.
    """

    rights: frozenset[Right]
    audit: str | None = None


def _needs(audit: str, *rights: Right) -> Access:
    return Access(frozenset(rights), audit)


_OPEN = Access(frozenset())
_RETRIEVE = _needs("retrieve", Right.READ)
_RENDERED = _needs("retrieve-rendered", Right.READ)
_METADATA = _needs("retrieve-metadata", Right.READ)
_QUERY = _needs("query", Right.READ)
_STORE = _needs("store", Right.WRITE)
_DELETE = _needs("delete", Right.DELETE)
_TENANT = _needs("tenant", Right.TENANTS)
_UNDELETE = _needs("undelete", Right.DELETE)
_SUBSCRIPTION = _needs("subscription", Right.ADMIN)
_FHIR = _needs("fhir", Right.ADMIN)
_SUBSCRIBE = _needs("subscribe-workitem", Right.WRITE, Right.WORKLIST)
_REPORTS = _needs("report-workitem", Right.READ, Right.WORKLIST)

ACCESS: Final = MappingProxyType(
    {
        # open, without a token
        "health": _OPEN,
        "api_json": _OPEN,
        "api_yaml": _OPEN,
        "z_fallback": _OPEN,
        # retrieval
        "retrieve_study": _RETRIEVE,
        "retrieve_series": _RETRIEVE,
        "retrieve_instance": _RETRIEVE,
        "retrieve_frames": _RETRIEVE,
        "retrieve_bulk_data": _RETRIEVE,
        "wado_uri": _RETRIEVE,
        "retrieve_study_metadata": _METADATA,
        "retrieve_series_metadata": _METADATA,
        "retrieve_instance_metadata": _METADATA,
        "retrieve_rendered_study": _RENDERED,
        "retrieve_rendered_series": _RENDERED,
        "retrieve_rendered_instance": _RENDERED,
        "retrieve_rendered_frames": _RENDERED,
        "retrieve_study_thumbnail": _RENDERED,
        "retrieve_series_thumbnail": _RENDERED,
        "retrieve_instance_thumbnail": _RENDERED,
        "retrieve_frames_thumbnail": _RENDERED,
        # search
        "search_studies": _QUERY,
        "search_series": _QUERY,
        "search_instances": _QUERY,
        "search_series_of_study": _QUERY,
        "search_instances_of_study": _QUERY,
        "search_instances_of_series": _QUERY,
        # store and delete
        "store": _STORE,
        "store_in_study": _STORE,
        "upsert": _STORE,
        "upsert_in_study": _STORE,
        "delete_study": _DELETE,
        "delete_series": _DELETE,
        "delete_instance": _DELETE,
        "undelete_study": _UNDELETE,
        "undelete_series": _UNDELETE,
        "undelete_instance": _UNDELETE,
        # the tenant as a whole
        "change_feed": _needs("change-feed", Right.READ),
        "latest_change": _needs("change-feed", Right.READ),
        "list_partitions": _needs("partition", Right.READ),
        # who may start one may see how it goes
        "retrieve_operation": _needs(
            "operation", Right.READ, Right.EXPORT, Right.UPDATE, Right.TAGS, Right.ADMIN
        ),
        "list_operations": _needs("operation", Right.READ, Right.ADMIN),
        "cancel_operation": _needs("cancel-operation", Right.ADMIN),
        "reconcile": _needs("reconcile", Right.ADMIN),
        "add_extended_query_tags": _needs("add-extended-query-tag", Right.TAGS),
        "list_extended_query_tags": _needs("get-all-extended-query-tag", Right.READ),
        "retrieve_extended_query_tag": _needs("get-extended-query-tag", Right.READ),
        "update_extended_query_tag": _needs("update-extended-query-tag", Right.TAGS),
        "delete_extended_query_tag": _needs("remove-extended-query-tag", Right.TAGS),
        "list_extended_query_tag_errors": _needs("get-extended-query-tag-errors", Right.READ),
        "add_subscription": _SUBSCRIPTION,
        "list_subscriptions": _SUBSCRIPTION,
        "retrieve_subscription": _SUBSCRIPTION,
        "update_subscription": _SUBSCRIPTION,
        "delete_subscription": _SUBSCRIPTION,
        "list_dead_letters": _SUBSCRIPTION,
        "redeliver": _SUBSCRIPTION,
        "create_workitem": _needs("add-workitem", Right.WRITE, Right.WORKLIST),
        "retrieve_workitem": _needs("retrieve-workitem", Right.READ, Right.WORKLIST),
        "update_workitem": _needs("update-workitem", Right.WRITE, Right.WORKLIST),
        "change_workitem_state": _needs("change-state-workitem", Right.WRITE, Right.WORKLIST),
        "request_workitem_cancellation": _needs("cancel-workitem", Right.WRITE, Right.WORKLIST),
        "search_workitems": _needs("query-workitem", Right.READ, Right.WORKLIST),
        "subscribe_to_workitem": _SUBSCRIBE,
        "unsubscribe_from_workitem": _SUBSCRIBE,
        "suspend_worklist_subscription": _SUBSCRIBE,
        "open_event_channel": _REPORTS,
        "list_event_reports": _REPORTS,
        "export": _needs("export", Right.EXPORT),
        "bulk_update": _needs("update-study", Right.WRITE, Right.UPDATE),
        "fhir_state": _FHIR,
        "fhir_failures": _FHIR,
        "retry_fhir_failures": _FHIR,
        "replay_to_fhir": _FHIR,
        "resync_fhir": _FHIR,
        "resync_study_to_fhir": _FHIR,
        # the service as a whole
        "admin_list_tenants": _TENANT,
        "admin_retrieve_tenant": _TENANT,
        "admin_put_tenant": _TENANT,
        "admin_remove_tenant": _TENANT,
    }
)
"""By name of the function, without ``_in_partition``."""


def access_to(function: str) -> Access | None:
    """The row of a function, or ``None``: nobody may call it."""
    return ACCESS.get(function.removesuffix(_IN_PARTITION))
