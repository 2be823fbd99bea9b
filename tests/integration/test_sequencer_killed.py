"""Writers, a reader, and sequencers that are killed: the feed has everything once, in order."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

import pytest

from shared.adapters.sqlite.documents import SqliteDocuments
from shared.adapters.system import RandomIds, SystemClock
from shared.feed.reader import ChangeFeed
from shared.feed.sequencer import Sequencer
from shared.index import shapes
from shared.index.commit import Committer, Outcome
from shared.ports import JsonObject
from shared.where import Eq
from tests.support import dicom
from tests.support.fakes import MemoryBlobs
from tests.support.search import instance

_WRITERS, _EACH = 16, 200
_SEQUENCERS, _KILLS = 2, 20
_BUCKET_ENTRIES = 300
_ROOT = Path(dicom.__file__).parents[2]


class _Sequencers:
    """Processes that append, each followed by another when it is killed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parents: list[asyncio.subprocess.Process] = []
        self.killed = 0

    async def __aenter__(self) -> _Sequencers:
        words = ["-m", "tests.support.sequencing", str(self._path), str(_BUCKET_ENTRIES)]
        pipe = asyncio.subprocess.PIPE
        for _ in range(_SEQUENCERS):
            self._parents.append(
                await asyncio.create_subprocess_exec(
                    sys.executable, *words, stdin=pipe, stdout=pipe, cwd=_ROOT
                )
            )
        return self

    async def kill_one(self) -> None:
        """At a random moment of its life."""
        parent = self._parents[self.killed % _SEQUENCERS]
        assert parent.stdout is not None
        pid = int(await parent.stdout.readline())
        await asyncio.sleep(random.uniform(0, 0.2))
        os.kill(pid, signal.SIGKILL)
        self.killed += 1

    async def __aexit__(self, *_error: object) -> None:
        for parent in self._parents:
            await parent.communicate(b"")  # its input ends


@pytest.mark.spec("change-feed", 28)
async def test_sixteen_writers_and_twenty_kills(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    documents, beside = SqliteDocuments(path), SqliteDocuments(path)
    committer = Committer(documents, RandomIds(), SystemClock())
    written: list[str] = []
    over = asyncio.Event()
    sequencers = _Sequencers(path)

    async def write(number: int) -> None:
        study = f"2.25.{number + 1}"
        for at in range(_EACH):
            new = instance(study, f"{study}.{at % 3}", f"{study}.9.{at}")
            assert await committer.add([new]) == [Outcome.STORED]
            written.append(new.version)
            # whoever is ahead of the kills waits: each comes while there is something to append
            while len(written) > _WRITERS * _EACH * (sequencers.killed + 1) / (_KILLS + 1):
                await asyncio.sleep(0.01)

    async def kill() -> None:
        while sequencers.killed < _KILLS:
            await sequencers.kill_one()

    async def follow() -> list[JsonObject]:
        feed = ChangeFeed(beside, MemoryBlobs(), Sequencer(beside, SystemClock()))
        seen: list[JsonObject] = []
        while True:
            last = over.is_set()
            page = await feed.entries(len(seen), len(seen) + 100)
            seen += page
            assert [entry["sequence"] for entry in seen[-100:]] == list(
                range(max(1, len(seen) - 99), len(seen) + 1)
            ), "a reader that goes on from where it was misses nothing"
            if last and not page:
                return seen
            await asyncio.sleep(0.02)

    following = asyncio.create_task(follow())
    async with sequencers:
        await asyncio.gather(kill(), *map(write, range(_WRITERS)))
    await Sequencer(documents, SystemClock(), bucket_entries=_BUCKET_ENTRIES).drain()
    over.set()
    seen = await following
    assert sequencers.killed == _KILLS
    assert len(seen) == _WRITERS * _EACH
    assert sorted(entry["version"] for entry in seen) == sorted(written)
    times = [entry["timestamp"] for entry in seen]
    assert times == sorted(set(times))
    assert len({entry["bucket"] for entry in seen}) > 1
    assert not await documents.query("index", Eq(("type",), shapes.OUTBOX), limit=1)
    await documents.close()
    await beside.close()
