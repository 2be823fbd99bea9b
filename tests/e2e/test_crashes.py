"""The process is killed before each write of a store or a deletion, and started again.

Whatever the moment, afterwards the invariants of architecture §6 hold: no file that nothing names,
no document without its file, exact counts, each change announced once, and the same request sent
again ends in the same state.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from pydicom.dataset import Dataset

from shared.index import shapes
from tests.e2e.test_export import ended
from tests.support import dicom
from tests.support.archive import Archive, look
from tests.support.server import Server

_CRASHING = Path(dicom.__file__).parent / "crashing_app"
_MOST_WRITES = 30
_SETTLED_S = 90.0  # a message of a killed process is hidden for half a minute
_GRACE = {"DICOM_COMMIT_GRACE_SECONDS": "3", "DICOM_SWEEP_SCHEDULE": "*/2 * * * * *"}


def _multipart(*datasets: Dataset) -> tuple[bytes, dict[str, str]]:
    parts = b"".join(
        b"--b\r\nContent-Type: application/dicom\r\n\r\n" + dicom.part10(ds) + b"\r\n"
        for ds in datasets
    )
    headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
    return parts + b"--b--\r\n", headers


def _store(base: str, *datasets: Dataset, method: str = "POST") -> int:
    content, headers = _multipart(*datasets)
    response = httpx.request(
        method, f"{base}/studies", content=content, headers=headers, timeout=60
    )
    return response.status_code


def _large_header(ds: Dataset) -> Dataset:
    """With metadata that goes into a segment blob."""
    private = ds.private_block(0x0011, "TEST", create=True)
    for number in range(0x100):
        private.add_new(number, "LO", dicom.new_uid())
    ds.ProcedureCodeSequence = [dicom.item(CodeMeaning=dicom.new_uid()) for _ in range(200)]
    return ds


def _new_study(base: str) -> Callable[[], int]:
    ds = dicom.ct()
    return lambda: _store(base, ds)


def _several_with_segment(base: str) -> Callable[[], int]:
    first = dicom.ct()
    rest = [_large_header(dicom.ct(StudyInstanceUID=first.StudyInstanceUID)) for _ in range(2)]
    other = dicom.mr()
    return lambda: _store(base, first, *rest, other)


def _large_file(base: str) -> Callable[[], int]:
    """Written block by block."""
    ds = dicom.multi_frame(frames=36, Rows=512, Columns=512, PixelData=bytes(36 * 512 * 512))
    return lambda: _store(base, ds)


def _changed_attributes(base: str) -> Callable[[], int]:
    """A second instance that changes the study's name: documents below it have to follow."""
    first = dicom.ct(PatientName="Before^Change")
    assert _store(base, first) in (200, 202)
    second = dicom.mr(StudyInstanceUID=first.StudyInstanceUID, PatientName="After^Change")
    return lambda: _store(base, second)


def _duplicate(base: str) -> Callable[[], int]:
    ds = dicom.ct()
    assert _store(base, ds) in (200, 202)
    return lambda: _store(base, ds)


def _upsert(base: str) -> Callable[[], int]:
    """One instance is replaced, with other attributes, and one is added."""
    first = dicom.ct(PatientName="Before^Change")
    below = {"StudyInstanceUID": first.StudyInstanceUID}
    assert _store(base, first, _large_header(dicom.ct(**below))) in (200, 202)
    changed = dicom.ct(
        **below,
        SeriesInstanceUID=first.SeriesInstanceUID,
        SOPInstanceUID=first.SOPInstanceUID,
        PatientName="After^Change",
    )
    return lambda: _store(base, changed, dicom.ct(**below), method="PUT")


def _delete_instance(base: str) -> Callable[[], int]:
    first = dicom.ct(PatientName="Stays^Here")
    second = dicom.ct(
        StudyInstanceUID=first.StudyInstanceUID,
        SeriesInstanceUID=first.SeriesInstanceUID,
        PatientName="Goes^Away",
    )
    assert _store(base, first, second) in (200, 202)
    url = (
        f"{base}/studies/{second.StudyInstanceUID}/series/{second.SeriesInstanceUID}"
        f"/instances/{second.SOPInstanceUID}"
    )
    return lambda: httpx.delete(url, timeout=60).status_code


def _delete_study(base: str) -> Callable[[], int]:
    first = dicom.ct()
    rest = [dicom.ct(StudyInstanceUID=first.StudyInstanceUID) for _ in range(44)]
    assert _store(base, first, *rest) in (200, 202)
    url = f"{base}/studies/{first.StudyInstanceUID}"
    return lambda: httpx.delete(url, timeout=60).status_code


@pytest.mark.parametrize(
    "prepare",
    [
        _new_study,
        _several_with_segment,
        _large_file,
        _changed_attributes,
        _duplicate,
        _upsert,
        _delete_instance,
        _delete_study,
    ],
)
def test_a_process_killed_before_any_write_leaves_an_archive_that_heals(
    prepare: Callable[[str], Callable[[], int]], account: str, tmp_path: Path
) -> None:
    tenant = "crash-" + prepare.__name__.strip("_").replace("_", "-")
    environment = {"DICOM_TENANTS": tenant, **_GRACE}
    healthy = Server(connection=account, data=tmp_path, seed=True, environment=environment)
    base = f"{healthy.base_url}/{tenant}/v2"
    crashes = 0
    requests = []
    for number in range(1, _MOST_WRITES):
        with healthy:
            requests.append(prepare(base))
        crashing = Server(
            connection=account,
            data=tmp_path,
            app=_CRASHING,
            port=healthy.port,
            environment={**environment, "CRASH_BEFORE_WRITE": str(number)},
        )
        with crashing:
            try:
                status = requests[-1]()
            except httpx.TransportError:
                crashes += 1
            else:
                assert status in (200, 202, 204, 409)
                break
    else:
        pytest.fail("there is no end of writes")
    assert crashes >= 2
    with healthy:
        _settle(account, tmp_path, tenant)
        statuses = [request() for request in requests]
        again = _settle(account, tmp_path, tenant)
        again_statuses = [request() for request in requests]
        if prepare is not _upsert:  # which is done again, as often as it is asked for
            assert again_statuses == [_repeated(each) for each in statuses]
    assert not again.faults()


def test_a_process_killed_before_its_second_look_at_the_list_of_tags(
    account: str, tmp_path: Path
) -> None:
    """Of a tag that was added, and indexed, since the process read the list."""
    environment = {"DICOM_TENANTS": "crash-tags", **_GRACE}
    healthy = Server(connection=account, data=tmp_path, seed=True, environment=environment)
    with healthy:
        shared = {"DICOM_SQLITE_DIRECTORY": str(tmp_path / "index"), "CRASH_AT_SECOND_LOOK": "2"}
        crashing = Server(
            connection=account,
            data=tmp_path / "crashing",
            app=_CRASHING,
            environment={**environment, **shared},
        )
        base = f"{healthy.base_url}/crash-tags/v2"
        late = dicom.ct(PatientSex="F")
        with crashing:
            other = f"{crashing.base_url}/crash-tags/v2"
            assert _store(other, dicom.ct(PatientSex="M")) == 200
            tags = [{"path": "PatientSex", "level": "Study"}]
            assert (
                ended(httpx.post(f"{base}/extendedquerytags", json=tags))["status"] == "succeeded"
            )
            with pytest.raises(httpx.TransportError):
                _store(other, late)
        query = {"PatientSex": "F", "StudyInstanceUID": late.StudyInstanceUID}
        deadline = time.monotonic() + _SETTLED_S
        while httpx.get(f"{base}/studies", params=query).status_code != 200:
            assert time.monotonic() < deadline, healthy.log_text()[-3000:]
            time.sleep(0.2)
        assert not _settle(account, tmp_path, "crash-tags").of_type(shapes.BEHIND)


def _repeated(status: int) -> int:
    """What the same request is answered when it has been done before."""
    return {200: 409, 202: 409, 204: 404}.get(status, status)


def _settle(connection: str, data: Path, tenant: str) -> Archive:
    """Wait until all invariants hold; what still breaks them after a while is the failure."""
    deadline = time.monotonic() + _SETTLED_S
    while True:
        archive = asyncio.run(look(connection, data / "index", tenant))
        faults = archive.faults()
        if not faults:
            return archive
        if time.monotonic() > deadline:
            pytest.fail("\n".join([*faults, (data / "server.log").read_text("utf-8")[-3000:]]))
        time.sleep(0.5)


def test_the_checks_themselves_notice_each_kind_of_fault() -> None:
    instance = {
        "id": "instance|2|3", "pk": "p|1", "type": shapes.INSTANCE, "series": "2", "version": "9",
        "blob": "instances/p/1/2/3/9.dcm", "metadata": {}, "q": {"00100020": "a"},
    }  # fmt: skip
    series = {
        "id": "series|2", "pk": "p|1", "type": shapes.SERIES, "series": "2", "instanceCount": 1,
        "q": {"00100020": "a"},
    }  # fmt: skip
    study = {
        "id": "study|1", "pk": "p|1", "type": shapes.STUDY, "instanceCount": 1, "seriesCount": 1,
        "q": {"00100020": "a"}, "spreading": False,
    }  # fmt: skip
    outbox = {
        "id": "outbox|1", "type": shapes.OUTBOX, "changes": [{"action": "Create", "version": "9"}],
    }  # fmt: skip
    sound = [instance, series, study, outbox]
    file = {"instances/p/1/2/3/9.dcm"}
    assert not Archive(sound, set(file)).faults()
    for broken in (
        Archive(sound, set()),
        Archive(sound, file | {"instances/p/1/2/3/8.dcm"}),
        Archive(sound[:3], set(file)),
        Archive([*sound, outbox], set(file)),
        Archive([instance, series, outbox], set(file)),
        Archive([{**instance, "q": {}}, *sound[1:]], set(file)),
        Archive([instance, {**series, "instanceCount": 2}, study, outbox], set(file)),
        Archive([instance, series, {**study, "seriesCount": 0}, outbox], set(file)),
        Archive([instance, series, {**study, "spreading": True}, outbox], set(file)),
    ):
        assert broken.faults()
