"""The app's writing functions, but the process kills itself just before its n-th write.

``CRASH_BEFORE_WRITE=n`` says which; writes are requests to the blob service (blocks of a large file
one by one), commits of documents, and messages sent. With a number greater than there are writes
nothing happens. Its messages come back after five seconds, not half a minute.

``CRASH_AT_SECOND_LOOK=n`` has it die instead when the n-th store has committed and is to look at
the list of extended query tags again; then it does nothing but store.
"""

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import azure.functions as func
from azure.storage.blob.aio import BlobClient

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import local_host.queues
from functions import (
    bulk_update,
    delete,
    export,
    operations,
    store,
    subscribers,
    subscriptions,
    worklist,
)
from shared.adapters.azure.queues import AzureQueue
from shared.adapters.sqlite.documents import SqliteDocuments
from shared.tags.indexing import TagIndexer

# the next process is to have this one's messages soon
local_host.queues.LEASE_S, local_host.queues._RENEWAL_S = 5, 1.5

_second_look = os.environ.get("CRASH_AT_SECOND_LOOK")
_left = int(_second_look or os.environ["CRASH_BEFORE_WRITE"])


def _crashing(write: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def run(*arguments: Any, **options: Any) -> Any:
        global _left  # noqa: PLW0603 — one count for the process
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return await write(*arguments, **options)

    return run


_BLOB_WRITES = (
    *("upload_blob", "stage_block", "commit_block_list", "delete_blob"),
    *("create_append_blob", "append_block", "start_copy_from_url"),
)
_WRITES: tuple[tuple[type, tuple[str, ...]], ...] = (
    (BlobClient, _BLOB_WRITES),
    (SqliteDocuments, ("commit",)),
    (AzureQueue, ("send",)),
)
for port, names in _WRITES if _second_look is None else [(TagIndexer, ("catch_up",))]:
    for name in names:
        setattr(port, name, _crashing(getattr(port, name)))

app = func.FunctionApp()
# no others: they write as well
_modules = (
    store, delete, operations, export, bulk_update, subscribers, subscriptions, worklist,
)  # fmt: skip
for module in _modules if _second_look is None else (store,):
    app.register_functions(module.bp)
