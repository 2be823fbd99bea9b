"""The ports of ``shared.export`` on Azure Blob Storage: containers of others, links to our files.

Nothing that is raised here has the SDK's own error behind it: that may hold an address with its
signature, and what is raised may be logged.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from shared.adapters.azure.blobs import AzureBlobs
from shared.adapters.azure.clients import foreign_blob_service
from shared.adapters.azure.identity import token_credential
from shared.errors import (
    AlreadyStored,
    CorruptData,
    DestinationTrouble,
    DestinationUnusable,
    ServiceTrouble,
)
from shared.export.addresses import may_connect
from shared.export.models import Credential, Target
from shared.export.ports import Copied
from shared.export.request import EMULATOR_ACCOUNT, EMULATOR_KEY
from shared.ports import StoredBlob

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver
    from azure.core.exceptions import HttpResponseError
    from azure.storage.blob import UserDelegationKey
    from azure.storage.blob.aio import BlobClient, BlobServiceClient

_TENANTS = "dicomtenants"
_LINK_LASTS = timedelta(hours=1)
_KEY_LASTS = timedelta(hours=12)
_NO_KEY_FOR = timedelta(minutes=10)
_SKEW = timedelta(minutes=5)
_NOT_LET_IN = {401, 403}
_NOT_FOUND = 404
_CONDITION_FAILED = 412
_GONE = {"ContainerBeingDeleted", "ContainerDisabled", "AccountBeingCreated"}
_NOT_COPIED = {404, 409}
_NEVER_COPIES = {400, 401, 403, 405, 501}
_NO_SOURCE = "CannotVerifyCopySource"

_log = logging.getLogger("dicom.export")


class AzureDestinations:
    """Ways into containers of Azure Blob Storage.

    Parameters
    ----------
    client_id : str, optional
        The service's own identity, for those entered with it.
    """

    def __init__(self, client_id: str | None) -> None:
        self._client_id = client_id

    @asynccontextmanager
    async def open(self, target: Target) -> AsyncIterator[AzureDestination]:
        """See ``Destinations.open``."""
        service = foreign_blob_service(
            target.account_address, self._credential(target), resolver(private=target.private)
        )
        try:
            yield AzureDestination(service, target)
        finally:
            await service.close()

    def _credential(self, target: Target) -> Any:
        from azure.core.credentials import AzureSasCredential

        match target.credential:
            case Credential.SAS:
                return AzureSasCredential(target.sas)
            case Credential.EMULATOR:
                return {"account_name": EMULATOR_ACCOUNT, "account_key": EMULATOR_KEY}
        return token_credential(self._client_id)


class AzureDestination:
    """One container. See ``Destination``."""

    def __init__(self, service: BlobServiceClient, target: Target) -> None:
        self._container = service.get_container_client(target.container)
        self._blobs = AzureBlobs(service, target.container)
        self._target = target

    async def tenants(self) -> frozenset[str]:
        """See ``Destination.tenants``."""
        with self._told():
            found = await self._container.get_container_properties()
        text = {key.lower(): value for key, value in (found.metadata or {}).items()}.get(_TENANTS)
        return frozenset((text or "").replace(",", " ").split())

    async def create_log(self, name: str) -> None:
        """See ``Destination.create_log``."""
        from azure.core import MatchConditions
        from azure.core.exceptions import HttpResponseError

        with self._told():
            try:
                await self._blob(name).create_append_blob(match_condition=MatchConditions.IfMissing)
            except HttpResponseError as error:
                if not _is_there(error):
                    raise

    async def log_after(self, name: str, position: int) -> bytes:
        """See ``Destination.log_after``."""
        with self._told():
            size = (await self._blob(name).get_blob_properties()).size
            if size <= position:
                return b""
            content = await self._blob(name).download_blob(position, size - position)
            return bytes(await content.readall())

    async def append(self, name: str, position: int, lines: bytes) -> None:
        """See ``Destination.append``."""
        from azure.core.exceptions import HttpResponseError

        with self._told():
            try:
                await self._blob(name).append_block(
                    lines, length=len(lines), appendpos_condition=position
                )
            except HttpResponseError as error:
                if error.status_code != _CONDITION_FAILED:
                    raise
                if await self.log_after(name, position) != lines:  # else the answer was lost
                    raise DestinationTrouble("Another has written to the log.") from None

    async def put(
        self, name: str, chunks: AsyncIterator[bytes], marks: Mapping[str, str]
    ) -> StoredBlob:
        """See ``Destination.put``."""
        with self._told():
            return await self._blobs.put(name, chunks, marks)

    async def copy(self, name: str, link: str, marks: Mapping[str, str]) -> Copied:
        """See ``Destination.copy``."""
        from azure.core import MatchConditions
        from azure.core.exceptions import HttpResponseError

        with self._told():
            try:
                await self._blob(name).start_copy_from_url(
                    link,
                    requires_sync=True,
                    metadata=dict(marks),
                    match_condition=MatchConditions.IfMissing,
                )
            except HttpResponseError as error:
                if _is_there(error):
                    raise AlreadyStored("the file is there") from None
                if _code(error) == _NO_SOURCE or error.status_code in _NOT_COPIED:
                    return Copied.NOT_THIS
                if error.status_code in _NEVER_COPIES:
                    return Copied.NEVER
                raise
        return Copied.DONE

    async def marks(self, name: str) -> Mapping[str, str] | None:
        """See ``Destination.marks``."""
        from azure.core.exceptions import ResourceNotFoundError

        with self._told():
            try:
                found = await self._blob(name).get_blob_properties()
            except ResourceNotFoundError:
                return None
        return {key.lower(): value for key, value in (found.metadata or {}).items()}

    def _blob(self, name: str) -> BlobClient:
        return self._container.get_blob_client(name)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What the SDK and the layers above it raise, as what it means for an export."""
        from azure.core.exceptions import AzureError, HttpResponseError

        try:
            yield
        except HttpResponseError as error:
            raise _cause(error, self._target) from None
        except (DestinationTrouble, CorruptData):  # the second is about what is to be written
            raise
        except (AzureError, ServiceTrouble):
            raise DestinationTrouble(f"The {self._target} does not answer.") from None


def _cause(error: HttpResponseError, target: Target) -> DestinationUnusable | DestinationTrouble:
    code = _code(error)
    told = f" ({code})" if code else ""
    if error.status_code is None:  # the identity has no token
        return DestinationTrouble(f"The service cannot sign in to the {target}.")
    if error.status_code in _NOT_LET_IN:
        return DestinationUnusable(f"The {target} does not let the service in{told}.")
    if error.status_code == _NOT_FOUND:
        return DestinationUnusable(f"The {target} does not exist{told}.")
    if code in _GONE:
        return DestinationUnusable(f"The {target} cannot be written to{told}.")
    return DestinationTrouble(f"The {target} did not take it{told}.")


def _is_there(error: HttpResponseError) -> bool:
    """Whether a new blob was refused because there is one: the service has two ways to say so."""
    return error.status_code == _CONDITION_FAILED or _code(error) == "BlobAlreadyExists"


def _code(error: HttpResponseError) -> str:
    """The code that the storage SDK adds to its errors, or nothing; fit to be shown."""
    code = str(getattr(error, "error_code", None) or "")[:60]
    return "".join(letter for letter in code if letter.isalnum())


def resolver(*, private: bool) -> AbstractResolver:
    """Finds addresses of hosts, and leaves out those that no connection may be made to."""
    import aiohttp
    from aiohttp.abc import ResolveResult

    class Resolver(aiohttp.ThreadedResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            found = await super().resolve(host, port, family)
            allowed = [each for each in found if may_connect(each["host"], private=private)]
            if not allowed:
                raise OSError(None, "the host has no address that may be used")
            return allowed

    return Resolver(asyncio.get_running_loop())


class AzureLinks:
    """Links to the files of one container of ours, for reading one file each.

    Parameters
    ----------
    service : BlobServiceClient
        A client of ``clients.blob_service``.
    container : str
        Name of the container.
    """

    def __init__(self, service: BlobServiceClient, container: str) -> None:
        self._service = service
        self._container = service.get_container_client(container)
        self._key: UserDelegationKey | None = None
        self._key_until = datetime.min.replace(tzinfo=UTC)

    async def link(self, key: str) -> str | None:
        """See ``Links.link``."""
        from azure.storage.blob import BlobSasPermissions, generate_blob_sas

        now = datetime.now(UTC)
        account_key = getattr(self._service.credential, "account_key", None)
        delegated = await self._delegation_key(now) if account_key is None else None
        if account_key is None and delegated is None:
            return None
        sas = generate_blob_sas(
            _account_name(self._container.url),
            self._container.container_name,
            key,
            account_key=account_key,
            user_delegation_key=delegated,
            permission=BlobSasPermissions(read=True),
            expiry=now + _LINK_LASTS,
        )
        return f"{self._container.url.partition('?')[0]}/{quote(key, safe='/~()')}?{sas}"

    async def _delegation_key(self, now: datetime) -> UserDelegationKey | None:
        """A key that signs in the name of our identity; ``None`` if it may not have one."""
        from azure.core.exceptions import AzureError

        if now + _LINK_LASTS > self._key_until:
            until = now + _KEY_LASTS
            try:
                self._key = await self._service.get_user_delegation_key(now - _SKEW, until)
            except AzureError as error:
                self._key, until = None, now + _LINK_LASTS + _NO_KEY_FOR
                _log.warning("no links to files", extra={"error": type(error).__name__})
            self._key_until = until
        return self._key


def _account_name(container_url: str) -> str:
    """The account of a container: the first label of the host, or of a path the first part."""
    parts = urlsplit(container_url)
    account, _, container = parts.path.strip("/").rpartition("/")
    return account if container and account else str(parts.hostname).partition(".")[0]
