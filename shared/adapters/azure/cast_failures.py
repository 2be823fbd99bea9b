"""The ``Failures`` of DICOMcast on Azure Table Storage: one table, a partition a tenant.

A row's key begins with partition and study, so that those of a study are one range.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from shared.adapters.azure.failures import translated
from shared.cast.failures import MOST_CAUSE, Failure
from shared.index.documents import iso
from shared.ports import Clock

if TYPE_CHECKING:
    from azure.data.tables.aio import TableServiceClient

TABLE = "castfailures"
_AT_ONCE = 100
_AFTER_ALL = "~"


class TableFailures:
    """The rows of one tenant.

    Parameters
    ----------
    service : TableServiceClient
        The client; ``close`` closes it.
    tenant : str
        Whose rows.
    clock : Clock
        The time.
    """

    def __init__(self, service: TableServiceClient, tenant: str, clock: Clock) -> None:
        self._service = service
        self._table = service.get_table_client(TABLE)
        self._tenant = tenant
        self._clock = clock

    async def put(self, partition: str, study: str, rows: Sequence[Failure]) -> None:
        """See ``Failures.put``."""
        there = {_key(row): row for row in await self.of_study(partition, study)}
        wanted = {_key(row): row for row in rows}
        now = iso(self._clock.now())
        operations: list[tuple[str, dict[str, Any]]] = [
            ("delete", self._keys(key)) for key in there.keys() - wanted.keys()
        ]
        for key, row in wanted.items():
            known = there.get(key)
            dated = replace(row, since=now if known is None else known.since)
            if dated != known:
                operations.append(("upsert", {**self._keys(key), **_columns(dated)}))
        for start in range(0, len(operations), _AT_ONCE):
            await self._submit(operations[start : start + _AT_ONCE])

    async def page(self, *, limit: int, after: str | None = None) -> tuple[list[Failure], str]:
        """See ``Failures.page``."""
        where = f"PartitionKey eq '{self._tenant}'"
        if after is not None:
            where += f" and RowKey gt '{after.replace(chr(39), chr(39) * 2)}'"
        found = await self._query(where, limit + 1)
        rows = [_row(entity) for entity in found[:limit]]
        return rows, found[limit - 1]["RowKey"] if len(found) > limit else ""

    async def of_study(self, partition: str, study: str) -> list[Failure]:
        """See ``Failures.of_study``."""
        start = f"{partition}|{study}|"
        where = (
            f"PartitionKey eq '{self._tenant}' and RowKey ge '{start}' "
            f"and RowKey lt '{start}{_AFTER_ALL}'"
        )
        return [_row(entity) for entity in await self._query(where, None)]

    async def close(self) -> None:
        """Close the client."""
        await self._service.close()

    async def _query(self, where: str, most: int | None) -> list[Mapping[str, Any]]:
        from azure.core.exceptions import ResourceNotFoundError

        found: list[Mapping[str, Any]] = []
        try:
            with translated():
                async for entity in self._table.query_entities(where):
                    found.append(entity)
                    if len(found) == most:
                        break
        except ResourceNotFoundError:
            return []  # no table yet
        return found

    async def _submit(self, operations: list[tuple[str, dict[str, Any]]]) -> None:
        from azure.core.exceptions import ResourceNotFoundError
        from azure.data.tables import TableTransactionError

        if not operations:
            return
        try:
            with translated():
                await self._table.submit_transaction(operations)
        except TableTransactionError as error:
            if getattr(error, "error_code", None) != "TableNotFound":
                # another worker has removed a row meanwhile: what is left is put one by one
                await self._submit_singly(operations)
                return
            await self._create_and_submit(operations)
        except ResourceNotFoundError:
            await self._create_and_submit(operations)

    async def _create_and_submit(self, operations: list[tuple[str, dict[str, Any]]]) -> None:
        with translated():
            await self._service.create_table_if_not_exists(TABLE)
        await self._submit_singly(operations)

    async def _submit_singly(self, operations: list[tuple[str, dict[str, Any]]]) -> None:
        with translated():
            for kind, entity in operations:
                if kind == "upsert":
                    await self._table.upsert_entity(entity)
                else:
                    await self._table.delete_entity(entity["PartitionKey"], entity["RowKey"])

    def _keys(self, key: str) -> dict[str, Any]:
        return {"PartitionKey": self._tenant, "RowKey": key}


def _key(row: Failure) -> str:
    about = "\n".join((row.series, row.instance, row.cause if row.kind == "skipped" else ""))
    digest = hashlib.sha256(about.encode()).hexdigest()[:16]
    return f"{row.partition}|{row.study}|{row.kind}|{digest}"


def _columns(row: Failure) -> dict[str, Any]:
    return {
        "partitionName": row.partition,
        "study": row.study,
        "series": row.series,
        "instance": row.instance,
        "kind": row.kind,
        "cause": row.cause[:MOST_CAUSE],
        "sequence": str(row.sequence),
        "since": row.since,
    }


def _row(entity: Mapping[str, Any]) -> Failure:
    return Failure(
        partition=entity["partitionName"],
        study=entity["study"],
        kind=entity["kind"],
        cause=entity["cause"],
        series=entity["series"],
        instance=entity["instance"],
        sequence=int(entity["sequence"]),
        since=entity["since"],
    )
