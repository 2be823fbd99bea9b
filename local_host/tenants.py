"""``python -m local_host.tenants``: the registry of tenants from the command line.

What ``dev.py tenant`` runs; with the app's settings of a deployment in the environment it works
there too.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from shared.adapters.azure.blobs import ensure_container
from shared.adapters.azure.clients import blob_service, table_service
from shared.adapters.azure.tables import TableRegistry
from shared.adapters.system import SystemClock
from shared.auth.directory import Directory
from shared.auth.ports import TenantRow
from shared.auth.tenants import Tenants
from shared.config import SettingMissing, load_settings
from shared.errors import AlreadyStored, DicomServiceError
from shared.ports import JsonObject


def parser() -> argparse.ArgumentParser:
    """The verbs and their arguments."""
    words = argparse.ArgumentParser(prog="tenant", description="The tenants of the service.")
    verbs = words.add_subparsers(dest="verb", required=True, metavar="verb")
    verbs.add_parser("list", help="all tenants")
    for verb, text in (
        ("add", "a new tenant"),
        ("change", "whose tokens a tenant takes"),
        ("suspend", "let no caller in"),
        ("resume", "let callers in again"),
        ("remove", "close it for good; the second time, forget it (its data stay)"),
    ):
        one = verbs.add_parser(verb, help=text)
        one.add_argument("name")
        if verb in ("add", "change"):
            one.add_argument("--issuer", action="append", help="whose tokens it takes", default=[])
            one.add_argument("--audience", action="append", help="for whom they are", default=[])
    return words


async def run(words: Sequence[str]) -> list[str]:
    """Do what the words say. The lines to print.

    Raises
    ------
    DicomServiceError
        It cannot be done; the message says why.
    """
    arguments = parser().parse_args(words)
    settings, clock = load_settings(), SystemClock()
    async with blob_service(settings.storage) as blobs, table_service(settings.storage) as tables:
        registry = TableRegistry(tables)

        async def prepare(row: TenantRow) -> None:
            await ensure_container(blobs, row.blob_container)

        directory = Directory(registry, settings.sign_in, settings.tenants, clock)
        return await _run(Tenants(registry, directory, clock, prepare), arguments)


async def _run(tenants: Tenants, arguments: argparse.Namespace) -> list[str]:
    if arguments.verb == "list":
        return [_line(row) for row in await tenants.list()]
    if arguments.verb == "remove":
        left = await tenants.remove(arguments.name)
        return [f"{arguments.name} is forgotten" if left is None else _line(left)]
    if arguments.verb in ("suspend", "resume"):
        await tenants.get(arguments.name)  # an unknown one must not be made
        state = "suspended" if arguments.verb == "suspend" else "active"
        row, _ = await tenants.put(arguments.name, {"state": state})
        return [_line(row)]
    if arguments.verb == "change":
        await tenants.get(arguments.name)
    elif arguments.name in {row["tenant"] for row in await tenants.list()}:
        raise AlreadyStored("There is a tenant of that name.")
    body: JsonObject = {}
    if arguments.issuer:
        body["issuers"] = arguments.issuer
    if arguments.audience:
        body["audiences"] = arguments.audience
    row, _ = await tenants.put(arguments.name, body)
    return [_line(row)]


def _line(row: JsonObject) -> str:
    trust = [f"issuer={one}" for one in row["issuers"]]
    trust += [f"audience={one}" for one in row["audiences"]]
    return "  ".join([row["tenant"], row["state"], row["blobContainer"], row["database"], *trust])


def main() -> int:
    """Exit status of the command."""
    try:
        print("\n".join(asyncio.run(run(sys.argv[1:]))))
    except (DicomServiceError, SettingMissing) as error:
        print(f"tenant: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
