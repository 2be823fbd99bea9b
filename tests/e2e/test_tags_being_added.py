"""Extended query tags while what is stored is being indexed by them, held in the middle."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.test_export import ended
from tests.e2e.test_extended_query_tags import AGE, SEX, aged, found, post, show, store, tag
from tests.support import dicom
from tests.support.server import Server

_HELD = Path(dicom.__file__).parent / "held_app"
_INSTITUTION = "00080080"


@pytest.fixture
def hold(tmp_path: Path) -> Path:
    """Whose existence holds operations back."""
    return tmp_path / "hold"


@pytest.fixture
def main(account: str, tmp_path: Path, hold: Path) -> Iterator[httpx.Client]:
    """A service of its own."""
    environment = {"DICOM_TENANTS": "held", "HOLD": str(hold)}
    service = Server(
        connection=account, data=tmp_path, app=_HELD, seed=True, environment=environment
    )
    with service, httpx.Client(base_url=f"{service.base_url}/held/v2", timeout=60) as http:
        yield http
        hold.unlink(missing_ok=True)


def _running(http: httpx.Client, started: httpx.Response) -> None:
    """Wait until the operation is in the middle of its studies."""
    assert started.status_code == 202, started.text
    deadline = time.monotonic() + 60
    while True:
        operation = httpx.get(started.headers["Location"]).json()
        if operation["status"] == "running" and operation.get("percentComplete", 0) > 0:
            return
        assert time.monotonic() < deadline, operation
        time.sleep(0.05)


@pytest.mark.spec("extended-query-tags", 26, 30, 34, 37, 38)
def test_while_stored_instances_are_indexed(main: httpx.Client, hold: Path) -> None:
    wrong, first, second = dicom.ct(), *(dicom.ct(PatientSex="M") for _ in range(2))
    assert store(main, aged(wrong, "foo "), first, second, major=1) == [200] * 3
    hold.write_text("1", "ascii")  # the newest study is indexed, then it waits
    started = post(main, tag("PatientSex"), tag(AGE, "Instance"), tag("InstitutionName"))
    _running(main, started)
    operation = {"id": started.json()["id"], "href": started.headers["Location"]}
    for path in (SEX, AGE, _INSTITUTION):
        entry = show(main, path)
        assert (entry["status"], entry["queryStatus"]) == ("adding", "enabled")
        assert entry["operation"] == operation
        refused = main.get("/instances", params={path: "001Y"})
        assert refused.status_code == 400
        assert "indexed" in refused.text
    for name in ("StageNumber", "PatientSex"):  # that it is there already is looked at later
        another = post(main, tag(name))
        assert another.status_code == 409
        assert another.headers["content-type"].startswith("text/plain")
        assert another.headers["Location"] == operation["href"]
        assert operation["id"] in another.text
    assert main.get("/extendedquerytags/StageNumber").status_code == 404
    # stored meanwhile: into a study that is indexed, into one that is not yet, and into a new one
    later = [
        dicom.ct(StudyInstanceUID=second.StudyInstanceUID, PatientSex="F"),
        dicom.ct(StudyInstanceUID=first.StudyInstanceUID, PatientSex="F", PatientAge="001Y"),
        dicom.ct(PatientSex="F"),
    ]
    assert store(main, *later) == [200] * 3
    assert main.delete(f"/studies/{wrong.StudyInstanceUID}").status_code == 204
    assert main.delete("/extendedquerytags/InstitutionName").status_code == 204
    assert main.get(f"/extendedquerytags/{_INSTITUTION}").status_code == 404
    assert httpx.get(operation["href"]).json()["status"] == "running"
    hold.unlink()
    assert ended(started)["status"] == "succeeded"
    for path, level in ((SEX, "study"), (AGE, "instance")):
        vr = {SEX: "CS", AGE: "AS"}[path]
        # the value that was wrong went with its instance, before it was come upon
        assert show(main, path) == {
            "path": path, "vr": vr, "level": level, "status": "ready", "queryStatus": "enabled",
        }  # fmt: skip
        assert main.get(f"/extendedquerytags/{path}/errors").json() == []
    assert [entry["path"] for entry in main.get("/extendedquerytags").json()] == [SEX, AGE]
    assert found(main, "/studies", PatientSex="F") == {ds.StudyInstanceUID for ds in later}
    assert not found(main, "/studies", PatientSex="M")
    assert found(main, "/instances", PatientAge="001Y") == {later[1].SOPInstanceUID}


@pytest.mark.spec("extended-query-tags", 34)
def test_its_only_tag_is_deleted_meanwhile_and_added_again(main: httpx.Client, hold: Path) -> None:
    data_sets = [dicom.ct(InstitutionName="House", BodyPartExamined="KNEE") for _ in range(2)]
    assert store(main, *data_sets) == [200] * 2
    hold.write_text("1", "ascii")
    started = post(main, tag("InstitutionName"))
    _running(main, started)
    assert main.delete("/extendedquerytags/InstitutionName").status_code == 204
    assert post(main, tag("InstitutionName")).status_code == 409, "its operation has not ended"
    hold.unlink()
    assert ended(started)["status"] == "succeeded"
    assert main.get("/extendedquerytags").json() == []
    assert main.get("/studies", params={"InstitutionName": "House"}).status_code == 400
    assert ended(post(main, tag("InstitutionName", "Series")))["status"] == "succeeded"
    expected = {ds.SeriesInstanceUID for ds in data_sets}
    assert found(main, "/series", InstitutionName="House") == expected
    # cancelled in the middle: nobody searches by it, and it is begun anew
    hold.write_text("1", "ascii")
    started = post(main, tag("BodyPartExamined", "Instance"))
    _running(main, started)
    canceled = main.post(f"/operations/{started.json()['id']}/$cancel")
    assert canceled.status_code == 202, canceled.text
    hold.unlink()
    assert ended(started)["status"] == "canceled"
    entry = show(main, "BodyPartExamined")
    assert (entry["status"], "operation" in entry) == ("adding", False)
    assert main.get("/instances", params={"BodyPartExamined": "KNEE"}).status_code == 400
    assert ended(post(main, tag("BodyPartExamined", "Series")))["status"] == "succeeded"
    assert found(main, "/series", BodyPartExamined="KNEE") == expected
