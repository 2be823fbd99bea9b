"""Roles and what they allow."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.auth.access import ACCESS, OF_A_TENANT, Access, Right
from shared.auth.roles import ANYBODY, Grant, Principal, RolesInvalid, grants_of, parse_roles

_SCOPES = ["/"]


def _file(*roles: dict[str, Any]) -> str:
    return json.dumps(list(roles))


def _may(function: str, *grants: Grant, partition: str | None = "microsoft.default") -> bool:
    return Principal({}, grants).may(ACCESS[function], partition)


@pytest.mark.spec("partitions-and-security", 21)
def test_rights_are_actions_without_those_that_are_taken_away() -> None:
    roles = parse_roles(
        _file({"name": "r", "dataActions": ["*"], "notDataActions": ["delete"], "scopes": _SCOPES})
    )
    assert roles == {"r": (Grant(OF_A_TENANT - {Right.DELETE}),)}
    assert _may("store", *roles["r"])
    assert not _may("delete_study", *roles["r"])


def test_a_file_may_be_an_object_with_the_roles() -> None:
    role = {"name": "globalReader", "dataActions": ["read"], "scopes": _SCOPES}
    text = json.dumps({"$schema": "x", "roles": [role]})
    assert parse_roles(text) == {"globalReader": (Grant(frozenset({Right.READ})),)}


@pytest.mark.spec("partitions-and-security", 22)
@pytest.mark.parametrize(
    "change",
    [
        {"name": "a b"},
        {"name": "r1"},
        {"name": ""},
        {"name": None},
        {"scopes": ["/studies"]},
        {"scopes": ["*"]},
        {"scopes": ["/partitions/a b"]},
        {"scopes": []},
        {"scopes": "/"},
        {"dataActions": ["Read"]},
        {"dataActions": []},
        {"dataActions": ["manageTenants"]},
        {"notDataActions": ["erase"]},
        {"more": 1},
    ],
)
def test_a_bad_file_is_refused(change: dict[str, Any]) -> None:
    role = {"name": "r", "dataActions": ["read"], "notDataActions": [], "scopes": _SCOPES}
    assert parse_roles(_file(role))
    with pytest.raises(RolesInvalid):
        parse_roles(_file(role | change))


@pytest.mark.parametrize("text", ["", "{}", "[1]", "null", "[" * 100_000])
def test_what_is_no_list_of_roles_is_refused(text: str) -> None:
    with pytest.raises(RolesInvalid):
        parse_roles(text)


def test_a_name_is_there_once() -> None:
    role = {"name": "r", "dataActions": ["read"], "scopes": _SCOPES}
    with pytest.raises(RolesInvalid, match="twice"):
        parse_roles(_file(role, role))


def test_a_right_in_one_partition_is_none_elsewhere() -> None:
    [grant] = parse_roles(
        _file({"name": "r", "dataActions": ["*"], "scopes": ["/partitions/Ward-A"]})
    )["r"]
    assert _may("store", grant, partition="ward-a")
    assert not _may("store", grant, partition="ward-b")
    assert not _may("store", grant)
    assert not _may("change_feed", grant, partition=None), "the feed is of all partitions"


def test_several_roles_are_their_union() -> None:
    roles = parse_roles(
        _file(
            {"name": "a", "dataActions": ["read"], "scopes": _SCOPES},
            {"name": "b", "dataActions": ["write"], "scopes": ["/partitions/p"]},
        )
    )
    grants = grants_of(["a", "b", "unknown", "a"], roles)
    assert len(grants) == 2
    assert _may("search_studies", *grants)
    assert _may("store", *grants, partition="p")
    assert not _may("store", *grants)


def test_parts_of_write_do_no_more_than_their_part() -> None:
    update = Grant(frozenset({Right.UPDATE}))
    worklist = Grant(frozenset({Right.WORKLIST}))
    for grant in (update, worklist):
        assert not _may("store", grant)
        assert not _may("retrieve_study", grant)
    for rights in ({Right.WRITE, Right.UPDATE}, {Right.READ, Right.WORKLIST}):
        access = Access(frozenset(rights), "x")
        assert all(Principal({}, (Grant(frozenset({r})),)).may(access, None) for r in rights)


def test_no_role_of_a_tenant_is_over_the_service() -> None:
    tenants = Access(frozenset({Right.TENANTS}), "tenant")
    owner = parse_roles(_file({"name": "r", "dataActions": ["*"], "scopes": _SCOPES}))["r"]
    assert not Principal({}, owner).may(tenants, None)
    assert ANYBODY.may(tenants, None)
