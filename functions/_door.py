"""The one door: each request to a tenant or to the service comes in here, its body unread."""

from __future__ import annotations

from starlette.requests import Request

from shared.auth.access import access_to
from shared.auth.audit import Trail, custom_headers
from shared.auth.ports import TenantRow
from shared.auth.roles import Principal
from shared.container import services
from shared.errors import NotAllowed
from shared.index.partitions import DEFAULT


async def let_in(name: str, req: Request, *, partitioned: bool) -> TenantRow:
    """Let a caller in to a function of a tenant.

    Parameters
    ----------
    name : str
        Of the function.
    req : Request
        The request.
    partitioned : bool
        Whether the function works on one data partition, or on the tenant as a whole.

    Returns
    -------
    TenantRow
        The tenant's row of the registry.

    Raises
    ------
    NotAuthenticated, TenantNotFound, NotAllowed
        See ``shared.auth.caller.Door`` and ``admit``.
    """
    app = await services()
    row, principal = await app.door.to_tenant(req.path_params["tenant"], _authorization(req))
    partition = req.path_params.get("partition", DEFAULT.name).lower() if partitioned else None
    admit(name, req, principal, partition)
    return row


async def let_in_to_service(name: str, req: Request) -> None:
    """Let an administrator in to a function of the service as a whole.

    Raises
    ------
    NotAuthenticated, NotAllowed
        See ``shared.auth.caller.Door`` and ``admit``.
    """
    app = await services()
    admit(name, req, await app.door.to_service(_authorization(req)), None)


def admit(name: str, req: Request, principal: Principal, partition: str | None) -> None:
    """Check a caller's rights against the table, and record that the work begins.

    Raises
    ------
    NotAllowed
        The caller lacks the right, or the function has no row in ``shared.auth.access``.
    MalformedRequest
        The headers for the record break their limits.
    """
    access = access_to(name)
    trail: Trail | None = req.state.trail
    if trail is not None:
        trail.principal = principal
    if access is None or not principal.may(access, partition):
        raise NotAllowed("The caller's roles do not allow this.")
    if trail is not None:
        trail.custom = custom_headers(req.headers.items())
        trail.executing()


def _authorization(req: Request) -> str | None:
    """The header ``Authorization``; two of them are none that is understood."""
    return ", ".join(req.headers.getlist("authorization")) or None
