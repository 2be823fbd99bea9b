"""Exports: started here, and gone on with a batch a step (spec operations.md §4)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from shared.errors import DestinationTrouble, DestinationUnusable
from shared.export.addresses import OwnStore
from shared.export.batch import Batch, Copier
from shared.export.models import (
    ERRORS,
    EXPORT,
    MANIFEST,
    Credential,
    Progress,
    Target,
)
from shared.export.planning import Plan
from shared.export.ports import Destination, Destinations
from shared.export.request import Rules, parse_export
from shared.export.sources import Sources
from shared.operations.engine import Engine
from shared.operations.models import RESOURCES, SEALED, Status, Step, Work
from shared.operations.sealing import SealBroken, Sealer
from shared.ports import Ids, JsonObject

_FILES = 200
_BYTES = 512 * 1024 * 1024
_PROBE_S = 30.0


class Exporter:
    """The operation ``export`` of one tenant.

    Input: ``partition``, ``source`` (``Sources.fixed``), ``destination`` (address and credential),
    and the destination's signature as ``sealed``.
    """

    def __init__(
        self, copier: Copier, sources: Sources, destinations: Destinations, sealer: Sealer
    ) -> None:
        self._copier = copier
        self._sources = sources
        self._destinations = destinations
        self._sealer = sealer

    async def step(self, work: Work) -> Step:
        """Export what was planned, and plan the next batch."""
        progress = Progress.from_json(work.checkpoint)
        try:
            target = self._target(work)
            async with self._destinations.open(target) as destination:
                batch = Batch(self._copier, destination, work.id, progress)
                after = await batch.run() if progress.plan else progress
        except SealBroken:
            why = "The key by which its signature was kept is gone."
            return Step(work.checkpoint, work.results, done=True, failed=why)
        except DestinationUnusable as error:
            return Step(work.checkpoint, work.results, done=True, failed=str(error))
        if not after.plan and not after.ended:
            after = await self._planned(work.input, after)
        results = self._results(target, work, batch)
        return Step(after.to_json(), results, done=not after.plan and after.ended)

    async def end(self, work: Work, status: Status) -> None:
        """Nothing to put away: the engine removes the sealed signature."""

    async def _planned(self, asked: JsonObject, progress: Progress) -> Progress:
        planner = self._sources.planner(asked["source"], asked["partition"])
        plan = Plan(_FILES, _BYTES, progress.cursor or {})
        await planner.fill(plan)
        entries = tuple(entry.to_json() for entry in plan.entries)
        return replace(progress, plan=entries, cursor=plan.cursor, ended=plan.ended)

    def _target(self, work: Work) -> Target:
        kept = work.input["destination"]
        sealed = work.input.get(SEALED)
        sas = "" if sealed is None else self._sealer.open(sealed, work.id)
        return Target(kept["address"], Credential(kept["credential"]), sas, kept["private"])

    def _results(self, target: Target, work: Work, batch: Batch) -> JsonObject:
        folder = f"{target.address}/{work.id}"
        results: JsonObject = {
            "exported": work.results.get("exported", 0) + batch.exported,
            "skipped": work.results.get("skipped", 0) + batch.skipped,
            "errorHref": f"{folder}/{ERRORS}",
            "manifestHref": f"{folder}/{MANIFEST}",
            RESOURCES: [f"{folder}/{ERRORS}", f"{folder}/{MANIFEST}"],
        }
        if "through" in work.input["source"]:
            results["throughSequence"] = work.input["source"]["through"]
        return results


class ExportService:
    """Starts exports of one tenant."""

    def __init__(
        self,
        engine: Engine,
        sources: Sources,
        destinations: Destinations,
        sealer: Sealer,
        *,
        ids: Ids,
        rules: Rules,
        own: OwnStore,
        tenant: str,
    ) -> None:
        self._engine = engine
        self._sources = sources
        self._destinations = destinations
        self._sealer = sealer
        self._ids = ids
        self._rules = rules
        self._own = own
        self._tenant = tenant

    async def start(self, body: JsonObject, partition: str) -> str:
        """Start an export of a data partition; returns the operation's id.

        Parameters
        ----------
        body : JsonObject
            The request; see ``shared.export.request``.
        partition : str
            Data partition, in lower case.

        Raises
        ------
        MalformedRequest, MalformedQuery
            The request breaks a rule; the message names the member.
        DestinationUnusable
            Nothing can be written there; the message names container and account.

        References
        ----------
        Spec operations.md §4.1.
        """
        request = parse_export(body, self._rules)
        target = request.target
        source = await self._sources.fixed(request.source)
        identity = target.credential is Credential.IDENTITY
        if await self._own.holds(target.account_address, target.container, identity=identity):
            raise DestinationUnusable("The service's own data lie there: export elsewhere.")
        id_ = self._ids.unique()
        await self._probe(target, id_)
        asked: JsonObject = {
            "partition": partition,
            "source": source,
            "destination": {
                "address": target.address,
                "credential": target.credential.value,
                "private": target.private,
            },
        }
        if target.sas:
            asked[SEALED] = self._sealer.seal(target.sas, id_)
        return await self._engine.start(EXPORT, asked, id_=id_)

    async def _probe(self, target: Target, id_: str) -> None:
        """Make the logs, and read them: what fails here fails before anything has begun."""
        try:
            async with asyncio.timeout(_PROBE_S), self._destinations.open(target) as destination:
                await self._require_allowed(target, destination)
                for name in (ERRORS, MANIFEST):
                    await destination.create_log(f"{id_}/{name}")
                    await destination.log_after(f"{id_}/{name}", 0)
        except TimeoutError:
            raise DestinationUnusable(f"The {target} does not answer.") from None
        except DestinationTrouble as error:
            raise DestinationUnusable(str(error)) from None

    async def _require_allowed(self, target: Target, destination: Destination) -> None:
        """Our identity serves all tenants, so what it may enter is not yet this tenant's."""
        if target.credential is not Credential.IDENTITY or not await self._own.is_shared():
            return
        if self._tenant not in await destination.tenants():
            raise DestinationUnusable(
                f"The {target} is not for this tenant: its owner has to name it in the "
                "container's metadata 'dicomtenants'."
            )
