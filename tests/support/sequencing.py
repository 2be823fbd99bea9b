"""Append to the change feed of an SQLite file, in processes that are there to be killed.

``python -m tests.support.sequencing FILE BUCKET_ENTRIES`` prints the id of a process that drains
the outbox without pause, and of the next one whenever that has died. It ends with its input.
"""

from __future__ import annotations

import asyncio
import os
import select
import sys
from pathlib import Path
from typing import NoReturn

from shared.adapters.sqlite.documents import SqliteDocuments
from shared.adapters.system import SystemClock
from shared.errors import ServiceTrouble
from shared.feed.sequencer import Sequencer


def _is_over() -> bool:
    return bool(select.select([0], [], [], 0)[0])


async def _append(path: Path, bucket_entries: int) -> None:
    sequencer = Sequencer(SqliteDocuments(path), SystemClock(), bucket_entries=bucket_entries)
    while not _is_over():
        await asyncio.sleep(0.005)
        try:
            await sequencer.drain()
        except ServiceTrouble:  # another process is at it
            continue


def main(path: str, bucket_entries: str) -> NoReturn:
    """Run until the input ends."""
    while not _is_over():
        child = os.fork()
        if not child:
            asyncio.run(_append(Path(path), int(bucket_entries)))
            os._exit(0)
        print(child, flush=True)
        os.waitpid(child, 0)
    sys.exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
