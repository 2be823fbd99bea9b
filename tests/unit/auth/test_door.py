"""The door: which tenant a token opens, and what is told to those who stay outside."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.auth.access import ACCESS, OF_A_TENANT, Right
from shared.auth.caller import Door
from shared.auth.directory import LASTS_S, MISSING_LASTS_S, OUTAGE_S, Directory, is_tenant_name
from shared.auth.issuers import parse_issuer
from shared.auth.ports import TenantRow
from shared.auth.settings import load_sign_in
from shared.auth.tokens import Tokens
from shared.errors import NotAllowed, NotAuthenticated, TenantNotFound, Unavailable
from tests.support.auth import MemoryPublished, MemoryRegistry
from tests.support.fakes import FixedClock
from tests.support.issuer import Issuer

BASE = "https://dicom.example"
OWNER = ["Dicom.DataOwner"]


def row(name: str, state: str = "active", **changes: Any) -> TenantRow:
    return replace(
        TenantRow(name, state, f"dicom-{name}", f"dicom-{name}", datetime(2026, 1, 1, tzinfo=UTC)),
        **changes,
    )


class House:
    """A service with two issuers: its own, and one that only the tenant ``own`` trusts."""

    def __init__(self, **environment: str) -> None:
        self.issuer, self.other = Issuer(0), Issuer(1)
        documents: dict[str, Any] = {}
        for one in (self.issuer, self.other):
            documents[parse_issuer(one.url).metadata_url] = {
                "issuer": one.url,
                "jwks_uri": f"{one.url}/keys",
            }
            documents[f"{one.url}/keys"] = {"keys": one.jwks}
        settings = {"DICOM_ISSUERS": self.issuer.url} | environment
        self.sign_in = load_sign_in(settings, BASE, ("main", "other"))
        self.registry = MemoryRegistry(
            row("main"),
            row("other"),
            row("paused", "suspended"),
            row("leaving", "deleting"),
            row("own", issuers=(self.other.url,), audiences=("api://own",)),
        )
        self.now = 1_000.0
        self.directory = Directory(
            self.registry, self.sign_in, ("main", "other"), FixedClock(), lambda: self.now
        )
        self.door = Door(self.sign_in, self.directory, Tokens(MemoryPublished(documents)))

    def token(self, tenant: str = "main", **claims: Any) -> str:
        return self.issuer.token(**{"aud": f"{BASE}/{tenant}", "roles": OWNER, **claims})

    async def outcome(self, tenant: str, token: str | None) -> tuple[str, str, str]:
        """Who is let in, or the error with all that the caller is told."""
        header = None if token is None else f"Bearer {token}"
        try:
            found, _ = await self.door.to_tenant(tenant, header)
        except (NotAuthenticated, NotAllowed, TenantNotFound) as error:
            challenge = str(getattr(error, "challenge", "")).replace(tenant, "TENANT")
            return type(error).__name__, str(error), challenge
        return "in", found.tenant, ""

    async def rights(self, token: str) -> set[Right]:
        _, principal = await self.door.to_tenant("main", f"bearer {token}")
        return {right for grant in principal.grants for right in grant.rights}


@pytest.fixture
def house() -> House:
    return House()


async def test_an_owner_is_let_in_to_the_own_tenant(house: House) -> None:
    assert await house.outcome("main", house.token()) == ("in", "main", "")
    assert await house.outcome("main", house.token(aud=f"{BASE}/main/")) == ("in", "main", "")
    own = house.other.token(aud="api://own", roles=OWNER)
    assert await house.outcome("own", own) == ("in", "own", "")


@pytest.mark.spec("partitions-and-security", 16, 17)
async def test_the_refusal_says_where_to_get_a_token(house: House) -> None:
    with pytest.raises(NotAuthenticated) as without:
        await house.door.to_tenant("main", None)
    assert without.value.challenge == (
        f'Bearer authorization_uri="{house.issuer.url}", resource_id="{BASE}/main", '
        f'realm="{BASE}/main"'
    )
    with pytest.raises(NotAuthenticated, match="not for this service") as wrong:
        await house.door.to_tenant("main", f"Bearer {house.token(aud='api://nobody')}")
    assert wrong.value.challenge.endswith(', error="invalid_token"')


async def test_unknown_and_foreign_tenants_look_alike(house: House) -> None:
    """Also the tenant that trusts another issuer, and one that is being deleted."""
    own = house.other.token(aud="api://own", roles=OWNER)
    for token in (
        None,
        "x",
        house.token("main"),
        house.token("nobody"),
        house.token(exp=1),
        house.token(aud="api://own"),
        own,
        house.other.token(aud=f"{BASE}/other", roles=OWNER),
        house.other.token(aud="api://nobody"),
    ):
        told = {
            name: await house.outcome(name, token)
            for name in ("other", "unknown", "leaving", "paused", "OTHER", "x" * 300)
        }
        assert all(answer[0] != "in" for answer in told.values())
        del told["OTHER"], told["x" * 300]  # no names of a tenant: their challenge names none
        assert len(set(told.values())) == 1, told
    assert (await house.outcome("unknown", house.token("main")))[0] == "TenantNotFound"
    assert (await house.outcome("own", house.token("main")))[0] == "TenantNotFound"
    assert (await house.outcome("main", own))[0] == "TenantNotFound"
    assert (await house.outcome("main", house.token("unknown")))[0] == "NotAuthenticated"


async def test_a_suspended_tenant_tells_it_to_its_own_callers_only(house: House) -> None:
    assert (await house.outcome("paused", house.token("paused")))[0] == "NotAllowed"
    assert (await house.outcome("paused", house.token("main")))[0] == "TenantNotFound"
    assert (await house.outcome("leaving", house.token("leaving")))[0] == "TenantNotFound"


async def test_a_tenants_issuer_is_no_issuer_of_others(house: House) -> None:
    for audience in (f"{BASE}/main", f"{BASE}/other", BASE):
        token = house.other.token(aud=audience, roles=[*OWNER, "Dicom.ServiceAdministrator"])
        for tenant in ("main", "other", "own"):
            assert (await house.outcome(tenant, token))[0] == "NotAuthenticated"
        with pytest.raises(NotAuthenticated):
            await house.door.to_service(f"Bearer {token}")


async def test_administrators_of_the_service(house: House) -> None:
    access = ACCESS["store"]
    admin = house.issuer.token(aud=BASE, roles=["Dicom.ServiceAdministrator"])
    principal = await house.door.to_service(f"Bearer {admin}")
    assert {right for grant in principal.grants for right in grant.rights} == {Right.TENANTS}
    assert not principal.may(access, None)
    assert (await house.outcome("main", admin))[0] == "NotAuthenticated"
    owner = house.issuer.token(aud=BASE, roles=OWNER)
    assert (await house.door.to_service(f"Bearer {owner}")).grants == ()


@pytest.mark.parametrize("header", ["", "Basic eDp5", "Bearer", "Bearer a b", "Bearer x, Bearer x"])
async def test_other_schemes_are_no_token(house: House, header: str) -> None:
    with pytest.raises(NotAuthenticated):
        await house.door.to_tenant("main", header)


@pytest.mark.parametrize(
    ("claims", "rights"),
    [
        ({}, {right.value for right in OF_A_TENANT}),
        ({"roles": ["DICOM Data Reader"]}, {"read"}),
        ({"roles": "Dicom.DataReader"}, {"read"}),
        ({"roles": ["unknown"]}, set()),
        ({"roles": {"Dicom.DataOwner": 1}}, set()),
        ({"roles": None}, set()),
        ({"scp": "Dicom.Read profile"}, {"read"}),
        ({"scp": ["api://x/Dicom.Read"]}, {"read"}),
        ({"scp": "profile"}, set()),
        ({"scp": "Dicom.ReadWrite", "roles": ["Dicom.DataReader"]}, {"read"}),
    ],
)  # fmt: skip
async def test_rights_come_from_roles_and_are_limited_by_scopes(
    house: House, claims: dict[str, Any], rights: set[str]
) -> None:
    assert {one.value for one in await house.rights(house.token(**claims))} == rights


async def test_the_record_has_identifiers_and_no_names(house: House) -> None:
    token = house.token(name="Anna Smith", preferred_username="anna@x.example", oid="o1", sub="s1")
    _, principal = await house.door.to_tenant("main", f"Bearer {token}")
    assert principal.claims == {
        "iss": house.issuer.url,
        "sub": "s1",
        "oid": "o1",
        "roles": "Dicom.DataOwner",
    }


async def test_without_sign_in_everything_is_open_but_what_is_not_there() -> None:
    house = House(DICOM_SIGN_IN="off")
    assert await house.outcome("main", None) == ("in", "main", "")
    assert await house.outcome("main", "nonsense") == ("in", "main", "")
    assert (await house.outcome("unknown", None))[0] == "TenantNotFound"
    assert (await house.outcome("paused", None))[0] == "NotAllowed"


# The directory ----------------------------------------------------------------------------


async def test_a_new_tenant_is_there_within_seconds_and_a_change_within_a_minute(
    house: House,
) -> None:
    directory = house.directory
    assert await directory.row("new") is None
    await house.registry.put(row("new"))
    assert await directory.row("new") is None
    house.now += MISSING_LASTS_S + 0.1
    assert await directory.row("new") == row("new")
    await house.registry.put(row("new", "suspended"))
    assert (await directory.row("new") or row("x")).state == "active"
    house.now += LASTS_S + 0.1
    assert (await directory.row("new") or row("x")).state == "suspended"


async def test_unknown_names_do_not_call_the_registry_each(house: House) -> None:
    for number in range(100):
        assert await house.directory.row(f"unknown-{number}") is None
    assert house.registry.reads == 1


async def test_an_outage_of_the_registry_is_endured_for_a_while(house: House) -> None:
    assert await house.directory.row("main")
    house.registry.away = True
    house.now += LASTS_S + 1
    assert await house.directory.row("main")
    assert await house.directory.row("unknown") is None
    assert house.registry.reads == 2, "it is not called each time"
    house.now += OUTAGE_S
    with pytest.raises(Unavailable):
        await house.directory.row("main")
    with pytest.raises(Unavailable):
        await house.directory.row("main")
    house.registry.away = False
    house.now += 10
    assert await house.directory.row("main")


async def test_tenants_of_the_settings_get_their_row(house: House) -> None:
    house.registry.content.clear()
    made = await house.directory.row("main")
    assert made is not None
    assert (made.state, made.blob_container, made.database) == (
        "active",
        "dicom-main",
        "dicom-main",
    )
    assert sorted(house.registry.content) == ["main", "other"]


async def test_a_tenant_without_audience_of_its_own_where_the_settings_have_one_for_all() -> None:
    """The audience of the settings' one tenant opens no other."""
    house = House()
    sign_in = load_sign_in(
        {"DICOM_ISSUERS": house.issuer.url, "DICOM_AUDIENCE": "api://app"}, BASE, ("main",)
    )
    house.registry.content = {"main": row("main"), "second": row("second")}
    directory = Directory(house.registry, sign_in, ("main",), FixedClock())
    first, second = await directory.trust("main"), await directory.trust("second")
    assert first is not None
    assert second is not None
    assert (first.audiences, second.audiences) == ({"api://app"}, frozenset())


async def test_an_issuer_that_is_none_is_trusted_by_nobody(house: House) -> None:
    house.registry.content["bad"] = row("bad", issuers=("http://evil.example",))
    trust = await house.directory.trust("bad")
    assert trust is not None
    assert dict(trust.issuers) == {}


@pytest.mark.parametrize(
    ("name", "good"),
    [("main", True), ("a-1", True), ("a" * 50, True), ("a" * 51, False), ("A", False), ("", False),
     ("a--b", False), ("-a", False), ("v2", False), ("tenants", False), ("a/b", False),
     ("ü", False)],
)  # fmt: skip
def test_names_of_tenants(name: str, good: bool) -> None:
    assert is_tenant_name(name) == good


# Settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({}, "DICOM_ISSUERS"),
        ({"DICOM_SIGN_IN": "Off"}, "DICOM_SIGN_IN"),
        ({"DICOM_SIGN_IN": "no"}, "DICOM_SIGN_IN"),
        ({"DICOM_SIGN_IN": ""}, "DICOM_ISSUERS"),
        ({"DICOM_ISSUERS": "http://issuer.example"}, "DICOM_ISSUERS"),
        ({"DICOM_ISSUERS": "https://x.example", "DICOM_AUDIENCE": "api://x"}, "DICOM_AUDIENCE"),
        ({"DICOM_SIGN_IN": "off", "DICOM_ROLES_FILE": "/nowhere"}, "DICOM_ROLES_FILE"),
    ],
)  # fmt: skip
def test_the_app_does_not_serve_with_settings_that_let_anybody_in(
    environment: dict[str, str], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        load_sign_in(environment, BASE, ("main", "other"))


def test_sign_in_is_off_only_by_that_word() -> None:
    assert not load_sign_in({"DICOM_SIGN_IN": "off"}, BASE, ("main",)).required
    assert load_sign_in({"DICOM_ISSUERS": "https://x.example"}, BASE, ("main",)).required
