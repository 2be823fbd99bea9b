"""The documents of the ``changes`` container (architecture §5, ADR 0011).

::

    head   id head            one per bucket: which sequence number and which time come next
    entry  id {outbox}|{n}    one change of one instance; never changed, never removed

Members of ``head``:

``bucket``     partition key, 10 digits, counted from 1
``first``      sequence number of the bucket's first entry
``next``       sequence number of the next entry
``timestamp``  of the newest entry of all; the next one's is greater
``closed``     no entry comes any more; the next bucket goes on

Members of ``entry``:

``bucket``, ``sequence``, ``timestamp``
``action``     ``Create``, ``Update`` or ``Delete``
``partition``  as first spelled
``study``, ``series``, ``instance``, ``version``   of the instance

An entry's id says which outbox document it comes from, so that nothing is appended twice.
"""

from __future__ import annotations

from shared.ports import JsonObject

HEAD = "head"
ENTRY = "entry"
FIRST_BUCKET = "0000000001"


def entry_ids(outbox: JsonObject) -> list[str]:
    """Ids of the entries that an outbox document becomes."""
    return [f"{outbox['id']}|{number}" for number in range(len(outbox["changes"]))]


def bucket_after(bucket: str) -> str:
    """The bucket that follows."""
    return f"{int(bucket) + 1:010d}"
