"""Work items that are over, and locked or not, with a service whose retention time is nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.support import dicom
from tests.support.server import Server
from tests.support.work_items import KIND, state, value, work_item

_WAIT_S = 60


def test_what_is_over_is_gone_unless_it_is_locked(
    new_account: Callable[[], str], tmp_path: Path
) -> None:
    environment = {"DICOM_WORKITEM_RETENTION_DAYS": "0", "DICOM_SWEEP_SCHEDULE": "*/2 * * * * *"}
    server = Server(connection=new_account(), data=tmp_path, seed=True, environment=environment)
    with server, httpx.Client(base_url=f"{server.base_url}/main/v2", headers=KIND) as http:
        waiting, locked, over = (dicom.new_uid() for _ in range(3))
        for uid in (waiting, locked, over):
            http.post("/workitems", content=json.dumps([work_item(uid)])).raise_for_status()
        lock = f"/workitems/{locked}/subscribers/LOCKS?deletionlock=true"
        http.post(lock).raise_for_status()
        for uid in (locked, over):
            http.post(f"/workitems/{uid}/cancelrequest", content="[{}]").raise_for_status()
        deadline = time.monotonic() + _WAIT_S
        while (gone := http.get(f"/workitems/{over}")).is_success:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert gone.status_code == 410
        changes = json.dumps([{"00741204": value("LO", "x")}])
        claim = json.dumps(state("IN PROGRESS", dicom.new_uid()))
        for answer in (
            http.post(f"/workitems/{over}", content=changes),
            http.put(f"/workitems/{over}/state", content=claim),
            http.post(f"/workitems/{over}/cancelrequest", content="[{}]"),
        ):
            assert answer.status_code == 410
        assert http.post("/workitems", content=json.dumps([work_item(over)])).status_code == 409
        time.sleep(3)  # another sweep
        for uid in (waiting, locked):
            assert http.get(f"/workitems/{uid}").status_code == 200
        rows = [row["00080018"]["Value"][0] for row in http.get("/workitems").json()]
        assert sorted(rows) == sorted([waiting, locked])
