"""50 claimants on 20 work items, round after round: each item is claimed by exactly one.

The rounds are run on the embedded index by two processes with 25 claimants each, every one of which
tries every item in an order of its own; one round in 50 goes over HTTP as well. After a round each
item has to be in progress, owned by the one who was told so.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import httpx

from bench.stand import service
from shared.adapters.sqlite.documents import SqliteDocuments
from shared.adapters.system import RandomIds, SystemClock
from shared.index.schema import WORKLIST
from shared.worklist.delivery import item_pk
from shared.worklist.service import ChangedMeanwhile, InconsistentState, WorklistService
from shared.worklist.validation import data_set_of
from tests.support import dicom
from tests.support.work_items import KIND, state, work_item

_ITEMS, _CLAIMANTS, _PROCESSES = 20, 50, 2
_OVER_HTTP = 50

Outcomes = Counter[str]
Won = list[tuple[str, str]]
"""Items, each with the Transaction UID that was told that it has it."""


def measure(arguments: argparse.Namespace) -> None:
    """Print how many claims there were, and what they came to."""
    with tempfile.TemporaryDirectory() as folder:
        _row("embedded index", *_by_processes(Path(folder) / "index.sqlite", arguments.rounds))
    with service() as (_, server):
        rounds = max(1, arguments.rounds // _OVER_HTTP)
        _row("HTTP", *asyncio.run(_over_http(f"{server.base_url}/main/v2", rounds)))


def _row(name: str, rounds: int, outcomes: Outcomes, seconds: float) -> None:
    told = ", ".join(f"{count} {what}" for what, count in sorted(outcomes.items()))
    print(f"claims, {name:15} {rounds} rounds, {rounds * _ITEMS} items, each claimed once; {told}; "
          f"{sum(outcomes.values()) / seconds:.0f} claims/s")  # fmt: skip


# On the embedded index -------------------------------------------------------------------------


class _Claimants:
    """The claimants of one process."""

    def __init__(self, path: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.documents = SqliteDocuments(path)
        self.worklist = WorklistService(self.documents, RandomIds(), SystemClock())

    def claim(self, items: list[str], claimants: int) -> tuple[Won, Outcomes]:
        """Let all of them try for each item at once."""
        outcomes: Outcomes = Counter()

        async def claim_all(owner: str) -> Won:
            won = []
            for uid in random.sample(items, len(items)):
                try:
                    await self.worklist.change_state("p", uid, state("IN PROGRESS", owner)[0])
                except InconsistentState:
                    outcomes["came later (C301)"] += 1
                except ChangedMeanwhile:
                    outcomes["lost the race (409)"] += 1
                else:
                    outcomes["won"] += 1
                    won.append((uid, owner))
            return won

        async def everybody() -> Won:
            owners = [dicom.new_uid() for _ in range(claimants)]
            return [one for won in await asyncio.gather(*map(claim_all, owners)) for one in won]

        return self.loop.run_until_complete(everybody()), outcomes


_claimants: _Claimants | None = None


def _begin(path: Path) -> None:
    global _claimants  # noqa: PLW0603 — one a process is the point
    _claimants = _Claimants(path)


def _claim(items: list[str], claimants: int) -> tuple[Won, Outcomes]:
    assert _claimants is not None
    return _claimants.claim(items, claimants)


def _by_processes(path: Path, rounds: int) -> tuple[int, Outcomes, float]:
    outcomes: Outcomes = Counter()
    seconds = 0.0
    here = _Claimants(path)
    with ProcessPoolExecutor(_PROCESSES, initializer=_begin, initargs=(path,)) as pool:
        for _ in range(rounds):
            items = here.loop.run_until_complete(_created(here.worklist))
            began = time.perf_counter()
            tasks = [
                pool.submit(_claim, items, _CLAIMANTS // _PROCESSES) for _ in range(_PROCESSES)
            ]
            won = []
            for task in tasks:
                mine, told = task.result()
                won += mine
                outcomes += told
            seconds += time.perf_counter() - began
            here.loop.run_until_complete(_each_once(here.documents, items, won))
    here.loop.run_until_complete(here.documents.close())
    return rounds, outcomes, seconds


async def _created(worklist: WorklistService) -> list[str]:
    return [
        await worklist.create("p", None, data_set_of([work_item(dicom.new_uid())]))
        for _ in range(_ITEMS)
    ]


async def _each_once(documents: SqliteDocuments, items: list[str], won: Won) -> None:
    owners = dict(won)
    assert sorted(uid for uid, _ in won) == sorted(items), "not each item was claimed once"
    for uid in items:
        found = await documents.get(WORKLIST.name, item_pk("p", uid), "item")
        assert found is not None
        assert found.body["owner"] == owners[uid], "the owner is another one than was told so"
        assert found.body["d"]["00741000"]["Value"] == ["IN PROGRESS"]


# Over HTTP --------------------------------------------------------------------------------------


async def _over_http(base: str, rounds: int) -> tuple[int, Outcomes, float]:
    outcomes: Outcomes = Counter()
    seconds = 0.0
    limits = httpx.Limits(max_connections=_CLAIMANTS)
    async with httpx.AsyncClient(base_url=base, headers=KIND, timeout=60, limits=limits) as http:

        async def claim_all(items: list[str], owner: str) -> Won:
            won = []
            for uid in random.sample(items, len(items)):
                body = state("IN PROGRESS", owner)
                answer = await http.put(f"/workitems/{uid}/state", json=body, headers=KIND)
                if answer.is_success:
                    won.append((uid, owner))
                outcomes[_told(answer)] += 1
            return won

        for _ in range(rounds):
            items = [dicom.new_uid() for _ in range(_ITEMS)]
            for uid in items:
                body = [work_item(uid)]
                (await http.post("/workitems", json=body, headers=KIND)).raise_for_status()
            began = time.perf_counter()
            owners = [dicom.new_uid() for _ in range(_CLAIMANTS)]
            found = await asyncio.gather(*(claim_all(items, owner) for owner in owners))
            seconds += time.perf_counter() - began
            won = [one for each in found for one in each]
            assert sorted(uid for uid, _ in won) == sorted(items), "not each item was claimed once"
            for uid, owner in won:
                label = [{"00741204": {"vr": "LO", "Value": ["mine"]}}]
                path = f"/workitems/{uid}?transaction-uid={owner}"
                (await http.post(path, json=label, headers=KIND)).raise_for_status()
    return rounds, outcomes, seconds


def _told(answer: httpx.Response) -> str:
    if answer.is_success:
        return "won"
    if answer.status_code == httpx.codes.CONFLICT:
        return "lost the race (409)"
    assert answer.status_code == httpx.codes.BAD_REQUEST, answer.text
    assert "C301" in answer.text, answer.text
    return "came later (C301)"
