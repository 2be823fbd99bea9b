"""Extended query tags over HTTP (spec extended-query-tags.md)."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydicom.dataset import Dataset

from shared.ports import JsonObject
from tests.e2e.test_export import ended
from tests.support import dicom
from tests.support.house import READER, House
from tests.support.server import Server

DICOM = {"Content-Type": "application/dicom"}
SEX, AGE, FILMS, STAGE = "00100040", "00101010", "21000170", "00082122"


@pytest.fixture
def main(server: Server, http: httpx.Client) -> Iterator[httpx.Client]:
    """The first tenant, without tags before and after."""
    _clear(http)
    yield http
    _clear(http)


def _clear(http: httpx.Client) -> None:
    for entry in http.get("/extendedquerytags", params={"limit": 200}).json():
        if "operation" in entry:
            ended(httpx.Response(202, json=entry["operation"], headers=_location(entry)))
        http.delete(f"/extendedquerytags/{entry['path']}")


def _location(entry: JsonObject) -> dict[str, str]:
    return {"Location": entry["operation"]["href"]}


def tag(path: str, level: str = "Study", **more: Any) -> JsonObject:
    return {"path": path, "level": level, **more}


def post(http: httpx.Client, *entries: Any) -> httpx.Response:
    return http.post("/extendedquerytags", json=list(entries))


def add(http: httpx.Client, *entries: JsonObject, enable: bool = True) -> JsonObject:
    """Add tags and wait for their operation; enable them, as other tests store what is invalid."""
    answer = post(http, *entries)
    assert answer.status_code == 202, answer.text
    operation = ended(answer)
    assert operation["status"] == "succeeded"
    for entry in entries if enable else ():
        patch = {"queryStatus": "Enabled"}
        assert http.patch(f"/extendedquerytags/{entry['path']}", json=patch).status_code == 200
    return operation


def store(http: httpx.Client, *data_sets: Dataset | bytes, major: int = 2) -> list[int]:
    url = str(http.base_url).replace("/v2/", f"/v{major}/") + "studies"
    files = [each if isinstance(each, bytes) else dicom.part10(each) for each in data_sets]
    return [httpx.post(url, content=file, headers=DICOM).status_code for file in files]


def aged(ds: Dataset, age: str) -> bytes:
    """A file with an age that pydicom would warn of."""
    return dicom.splice(dicom.part10(ds), dicom.element(0x00101010, "AS", age.encode()))


def found(http: httpx.Client, path: str, **parameters: str) -> set[str]:
    """SOP Instance, Series or Study UIDs that a search finds."""
    answer = http.get(path, params=parameters)
    assert answer.status_code in (200, 204), answer.text
    uid = {"s": "0020000D", "e": "0020000E", "i": "00080018"}
    level = path.rstrip("/").rpartition("/")[2]
    key = {"studies": uid["s"], "series": uid["e"], "instances": uid["i"]}[level]
    rows = answer.json() if answer.status_code == 200 else []
    return {row[key]["Value"][0] for row in rows}


def show(http: httpx.Client, path: str) -> JsonObject:
    answer = http.get(f"/extendedquerytags/{path}")
    assert answer.status_code == 200
    body: JsonObject = answer.json()
    return body


@pytest.mark.spec("extended-query-tags", 1, 2, 3, 31)
@pytest.mark.spec("operations", 40)
def test_what_is_stored_is_found_by_new_tags(main: httpx.Client) -> None:
    first, second = (dicom.ct(PatientSex="M", **{"NumberOfFilms": n}) for n in ("12", "03"))
    assert store(main, first, second) == [200, 200]
    operation = add(main, tag("PatientSex"), tag(FILMS.lower(), vr="is"))
    assert operation["type"] == "reindex"
    assert operation["percentComplete"] == 100
    assert "results" not in operation
    assert operation["resources"] == [
        f"{main.base_url}extendedquerytags/{path}" for path in (SEX, FILMS)
    ]
    listed = main.get("/extendedquerytags", params={"limit": 2}).json()
    assert listed == [
        {"path": SEX, "vr": "CS", "level": "study", "status": "ready", "queryStatus": "enabled"},
        {"path": FILMS, "vr": "IS", "level": "study", "status": "ready", "queryStatus": "enabled"},
    ]
    for offset in range(2):
        [one] = main.get("/extendedquerytags", params={"limit": 1, "offset": offset}).json()
        assert one == listed[offset]
    assert second.SOPInstanceUID in found(main, "/instances", **{FILMS: "0003"})
    assert first.SOPInstanceUID not in found(main, "/instances", **{FILMS: "0003"})
    both = {first.StudyInstanceUID, second.StudyInstanceUID}
    assert both <= found(main, "/studies", PatientSex="m")
    for uid in both:
        [row] = main.get("/studies", params={"PatientSex": "M", "StudyInstanceUID": uid}).json()
        assert row[SEX] == {"vr": "CS", "Value": ["M"]}
        [row] = main.get(
            "/studies", params={"StudyInstanceUID": uid, "includefield": "NumberOfFilms"}
        ).json()
        assert row[FILMS]["Value"] in ([12], [3])


@pytest.mark.spec("extended-query-tags", 4, 5, 6, 7, 8, 36, 39)
@pytest.mark.spec("dicomweb", 171)
def test_invalid_values_disable_a_tag_until_someone_enables_it(main: httpx.Client) -> None:
    marker = secrets.token_hex(4)
    wrong = [dicom.ct(StudyID=marker) for _ in range(2)]
    good, left = dicom.ct(PatientAge="053Y"), dicom.ct()
    ages = zip(wrong, ("foo ", "bar "), strict=True)
    assert store(main, *(aged(*one) for one in ages), good, major=1) == [200] * 3
    assert store(main, aged(left, "baz ")) == [202]
    add(main, tag("PatientAge", "Instance"), enable=False)
    entry = show(main, AGE)
    assert entry["queryStatus"] == "disabled"
    count = entry["errors"]["count"]
    assert count >= 2
    assert entry["errors"]["href"].endswith(f"/extendedquerytags/{AGE}/errors")
    rows: list[JsonObject] = []
    for offset in range(count):
        page = {"limit": 1, "offset": offset}
        rows += main.get(f"/extendedquerytags/{AGE}/errors", params=page).json()
    assert len(rows) == count
    assert main.get(entry["errors"]["href"]).json() == rows[:100]
    uids = {row["sopInstanceUid"] for row in rows}
    assert {ds.SOPInstanceUID for ds in wrong} <= uids
    assert not {good.SOPInstanceUID, left.SOPInstanceUID} & uids
    for row in rows:
        assert row["partitionName"] == "Microsoft.Default"
        assert row["createdTime"].endswith("Z")
        assert row["errorMessage"].startswith("The value")
        assert "foo" not in row["errorMessage"]
    refused = main.get("/instances", params={"PatientAge": "053Y"})
    assert refused.status_code == 400
    assert "disabled" in refused.text
    enabled = main.patch(f"/extendedquerytags/{AGE}", json={"QueryStatus": "Enabled"})
    assert enabled.json()["queryStatus"] == "enabled"
    for name in ("PatientAge", AGE):
        answer = main.get("/instances", params={name: "053Y"})
        assert answer.headers["erroneous-dicom-attributes"] == name
        assert good.SOPInstanceUID in {row["00080018"]["Value"][0] for row in answer.json()}
    assert main.get("/instances", params={AGE: "999Y"}).headers["erroneous-dicom-attributes"] == AGE
    assert main.delete(f"/studies/{wrong[0].StudyInstanceUID}").status_code == 204
    assert show(main, AGE)["errors"]["count"] == count - 1
    left_rows = main.get(f"/extendedquerytags/{AGE}/errors", params={"limit": 200}).json()
    assert wrong[0].SOPInstanceUID not in {row["sopInstanceUid"] for row in left_rows}
    main.patch(f"/extendedquerytags/{AGE}", json={"queryStatus": "disabled"})
    assert main.get("/instances", params={"PatientAge": "053Y"}).status_code == 400


_L1 = (
    "The field '[0].{}' in request body is invalid: The Dicom Tag Property {} must be specified "
    "and must not be null, empty or whitespace"
)
_L2 = (
    "The field '$[0].Level' in request body is invalid: Expected value 'Studys' to be one of the "
    "following values: ['Instance', 'Series', 'Study']"
)


@pytest.mark.spec("extended-query-tags", 9, 10, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 23, 24)
def test_what_cannot_be_added(main: httpx.Client) -> None:
    for body, text in (
        ([{"Path": SEX}], _L1.format("Level", "Level")),
        ([{"Path": "", "Level": "Study"}], _L1.format("Path", "Path")),
        ([{"Path": SEX, "Level": " "}], _L1.format("Level", "Level")),
        ([{"Path": SEX, "Level": 1}], "Level"),
        ([{"Path": 1, "Level": "Study"}], "Path"),
        ([{"Path": SEX, "Level": "Study", "Colour": "red"}], "Colour"),
        ([], "array"),
        ({}, "array"),
        ([1], "object"),
        ([tag("PatientSex"), tag(SEX)], "twice"),
        ([tag("PatientSex", vr="LO")], "VR"),
        *(([tag(path)], "VR") for path in ("PatientWeight", "RequestAttributesSequence",
                                          "0040A160", "7FE00010")),
        ([tag("00091010", vr="SH")], "privateCreator"),
        ([tag("00091010", vr="SH", privateCreator="x" * 65)], "privateCreator"),
        ([tag("00091010", vr="SH", privateCreator="a\\b")], "privateCreator"),
        ([tag("00091010", privateCreator="ACME")], "vr"),
        ([tag("PatientSex", privateCreator="ACME")], "privateCreator"),
        ([tag("00090010", vr="LO", privateCreator="ACME")], "privateCreator"),
        ([tag("RequestAttributesSequence.ScheduledProcedureStepID")], "path"),
        *(([tag(path)], "path") for path in ("patientSex", "0010004", "001000400", "xyz")),
    ):  # fmt: skip
        answer = main.post("/extendedquerytags", json=body)
        assert answer.status_code == 400, body
        assert text in answer.text, body
    typo = main.post("/extendedquerytags", json=[{"Path": SEX, "Level": "Studys"}])
    assert (typo.status_code, typo.text) == (400, _L2)
    for keyword in (
        "StudyDate", "StudyInstanceUID", "StudyDescription", "AccessionNumber", "PatientID",
        "PatientName", "ReferringPhysicianName", "PatientBirthDate", "ModalitiesInStudy",
        "SeriesInstanceUID", "Modality", "PerformedProcedureStepStartDate",
        "ManufacturerModelName", "SOPInstanceUID",
    ):  # fmt: skip
        assert post(main, tag(keyword)).status_code == 400, keyword
    text = {"Content-Type": "text/plain"}
    assert main.post("/extendedquerytags", content="[]", headers=text).status_code == 415
    assert main.get("/extendedquerytags").json() == []


@pytest.mark.spec("extended-query-tags", 13)
def test_an_invalid_value_at_a_store(main: httpx.Client) -> None:
    add(main, tag("StageNumber", "Series"))
    ds = dicom.ct()
    data = dicom.splice(dicom.part10(ds), dicom.element(0x00082122, "IS", b"one "))
    base = str(main.base_url)
    for major, status in ((1, 409), (2, 202)):
        url = base.replace("/v2/", f"/v{major}/") + "studies"
        answer = httpx.post(url, content=data, headers=DICOM)
        assert answer.status_code == status
    path = f"/studies/{ds.StudyInstanceUID}/metadata"
    assert STAGE not in main.get(path).json()[0]


@pytest.mark.spec("extended-query-tags", 20, 22, 25, 43)
def test_private_tags(main: httpx.Client) -> None:
    ds = dicom.ct()
    ds.add_new(0x00090010, "LO", "OTHER")
    ds.add_new(0x00090012, "LO", "ACME 1")
    ds.add_new(0x00091210, "SH", "Colour")
    unknown = dicom.ct()
    unknown.add_new(0x00090010, "LO", "ACME 1")
    unknown.add_new(0x00091010, "UN", b"Colour")
    assert store(main, ds, unknown) == [200] * 2
    add(
        main,
        tag("00091010", "Instance", vr="SH", privateCreator="ACME 1"),
        tag("00090010", vr="LO"),
        {"PATH": "0009abcd", "Level": "sTUDY", "vr": "sh", "PrivateCreator": "ACME 1"},
        enable=False,
    )
    for path in ("0009abcd", "0009ABCD"):
        assert show(main, path) == {
            "path": "0009ABCD", "vr": "SH", "privateCreator": "ACME 1", "level": "study",
            "status": "ready", "queryStatus": "enabled",
        }  # fmt: skip
    assert show(main, "00091010")["privateCreator"] == "ACME 1"
    uids = {ds.SOPInstanceUID, unknown.SOPInstanceUID}
    assert uids <= found(main, "/instances", **{"00091010": "colour"})
    other = dicom.ct()
    other.add_new(0x00090010, "LO", "OTHER")
    other.add_new(0x00091010, "FD", 1.5)
    for major in (1, 2):
        other.SOPInstanceUID = dicom.new_uid()
        assert store(main, other, major=major) == [200]
    [metadata, _] = main.get(f"/studies/{other.StudyInstanceUID}/metadata").json()
    assert metadata["00091010"] == {"vr": "FD", "Value": [1.5]}
    late = dicom.ct()
    late.add_new(0x00090011, "LO", "ACME 1")
    late.add_new(0x00091110, "SH", "Colour")
    assert store(main, late) == [200]
    assert late.SOPInstanceUID in found(main, "/instances", **{"00091010": "Colour"})
    assert ds.StudyInstanceUID in found(main, "/studies", **{"00090010": "OTHER"})


@pytest.mark.spec("extended-query-tags", 27, 32, 33, 35, 42)
def test_the_life_of_a_tag(main: httpx.Client) -> None:
    ds = dicom.ct(PatientSex="O", StudyID=secrets.token_hex(4))
    assert store(main, ds) == [200]
    add(main, tag("PatientSex"))
    both = post(main, tag("PatientSex"), tag("PatientAge"))
    assert both.status_code == 409
    assert SEX in both.text
    assert [entry["path"] for entry in main.get("/extendedquerytags").json()] == [SEX]
    for call in (main.get, main.delete):
        assert call(f"/extendedquerytags/{AGE}").status_code == 404
        assert call("/extendedquerytags/nothing").status_code == 400
    assert main.get(f"/extendedquerytags/{AGE}/errors").status_code == 404
    patch = {"queryStatus": "Enabled"}
    assert main.patch(f"/extendedquerytags/{AGE}", json=patch).status_code == 404
    assert main.patch("/extendedquerytags/1", json=patch).status_code == 400
    for body in ({"queryStatus": "Off"}, {"level": "Study"}, {}, {**patch, "vr": "CS"}, []):
        assert main.patch(f"/extendedquerytags/{SEX}", json=body).status_code == 400
    assert main.get(f"/extendedquerytags/{SEX}/errors").json() == []
    for path in ("", f"/{SEX}/errors"):
        for name, value in (("limit", "0"), ("limit", "201"), ("limit", "x"), ("offset", "-1")):
            answer = main.get(f"/extendedquerytags{path}", params={name: value})
            assert answer.status_code == 400
            assert name in answer.text
        assert main.get(f"/extendedquerytags{path}", params={"limit": 200}).status_code == 200
    series = f"/studies/{ds.StudyInstanceUID}/series"
    assert main.get(series, params={"PatientSex": "O"}).status_code == 400
    assert main.delete("/extendedquerytags/PatientSex").status_code == 204
    assert main.get(f"/extendedquerytags/{SEX}").status_code == 404
    assert main.get("/studies", params={"PatientSex": "O"}).status_code == 400
    assert main.delete(f"/extendedquerytags/{SEX}").status_code == 404
    add(main, tag(SEX, "Series"), tag("PatientAge", "Instance"))
    assert ds.SeriesInstanceUID in found(main, "/series", PatientSex="O")
    assert ds.SeriesInstanceUID in found(main, series, PatientSex="O")
    assert main.get("/studies", params={"PatientSex": "O"}).status_code == 400
    assert main.get("/series", params={"PatientAge": "001Y"}).status_code == 400


@pytest.mark.spec("extended-query-tags", 42)
def test_each_level_is_searched_where_it_is_known(main: httpx.Client) -> None:
    ds = dicom.ct(PatientSex="O", StageNumber="4", PatientAge="007Y", StudyID="L")
    assert store(main, ds) == [200]
    add(main, tag("PatientSex"), tag("StageNumber", "Series"), tag("PatientAge", "Instance"))
    values = {"study": ("PatientSex", "O"), "series": ("StageNumber", "4"),
              "instance": ("PatientAge", "007Y")}  # fmt: skip
    study, series = ds.StudyInstanceUID, ds.SeriesInstanceUID
    for path, levels in (
        ("/studies", {"study"}),
        ("/series", {"study", "series"}),
        ("/instances", {"study", "series", "instance"}),
        (f"/studies/{study}/series", {"series"}),
        (f"/studies/{study}/instances", {"series", "instance"}),
        (f"/studies/{study}/series/{series}/instances", {"instance"}),
    ):
        for level, (name, value) in values.items():
            answer = main.get(path, params={name: value})
            assert answer.status_code == (200 if level in levels else 400), (path, level)
            if level not in levels:
                assert name in answer.text


@pytest.mark.spec("extended-query-tags", 28)
def test_no_more_than_128(main: httpx.Client) -> None:
    many = [
        tag(f"0009{0x1000 + number:04X}", vr="SH", privateCreator="ACME") for number in range(127)
    ]
    add(main, *many, enable=False)
    two = post(main, tag("PatientSex"), tag("PatientAge"))
    assert (two.status_code, len(main.get("/extendedquerytags?limit=200").json())) == (400, 127)
    add(main, tag("PatientSex"))
    assert post(main, tag("PatientAge")).status_code == 400


@pytest.mark.spec("extended-query-tags", 40, 41)
@pytest.mark.parametrize("when", ["stored before", "stored after"])
def test_the_newest_value_holds_and_none_never_erases_it(main: httpx.Client, when: str) -> None:
    study, series = dicom.new_uid(), dicom.new_uid()
    uids = {"StudyInstanceUID": study, "SeriesInstanceUID": series}
    data_sets = [dicom.ct(**uids, PatientAge=age) for age in ("001Y", "002Y")] + [dicom.ct(**uids)]
    tags = tag("PatientAge"), tag("StageNumber", "Series")
    if when == "stored before":
        assert store(main, *data_sets) == [200] * 3
        add(main, *tags)
    else:
        add(main, *tags)
        assert store(main, *data_sets) == [200] * 3
    assert study in found(main, "/studies", PatientAge="002Y")
    assert study not in found(main, "/studies", PatientAge="001Y")
    instances = {ds.SOPInstanceUID for ds in data_sets}
    assert instances <= found(main, "/instances", PatientAge="002Y", StudyInstanceUID=study)
    path = f"/studies/{study}/series/{series}/instances/{data_sets[1].SOPInstanceUID}"
    assert main.delete(path).status_code == 204
    assert study in found(main, "/studies", PatientAge="001Y")


@pytest.mark.spec("extended-query-tags", 44, 45)
def test_matching(main: httpx.Client) -> None:
    ds = dicom.ct(
        SpecificCharacterSet="ISO_IR 192", InstitutionName="Ünit", PhysiciansOfRecord="Ünit^A",
        SeriesDate="20240229", ContentTime="000000", AcquisitionDateTime="20240101120000+0100",
        FieldOfViewDimensionsInFloat=0.1, RealWorldValueIntercept=0.1, ReferencePixelX0=-70000,
        TagAngleSecondAxis=-7, RegionLocationMinX0=4294967295, RegionDataType=512,
    )  # fmt: skip
    assert store(main, ds) == [200]
    add(
        main,
        tag("InstitutionName"), tag("PhysiciansOfRecord"), tag("SeriesDate"), tag("ContentTime"),
        tag("AcquisitionDateTime"), tag("FieldOfViewDimensionsInFloat"),
        tag("RealWorldValueIntercept"), tag("ReferencePixelX0"), tag("TagAngleSecondAxis"),
        tag("RegionLocationMinX0"), tag("RegionDataType"),
    )  # fmt: skip
    uid = ds.StudyInstanceUID
    for name, value, is_found in (
        ("InstitutionName", "ünit", True), ("InstitutionName", "unit", False),
        ("PhysiciansOfRecord", "unit^a", True), ("SeriesDate", "20240229", True),
        ("SeriesDate", "20240229-", True), ("SeriesDate", "-20240229", True),
        ("SeriesDate", "20240301-", False), ("SeriesDate", "20240101-20240229", True),
        ("ContentTime", "000000", True), ("ContentTime", "000001-", False),
        ("AcquisitionDateTime", "20240101120000", True),
        ("AcquisitionDateTime", "2024-2025", True), ("AcquisitionDateTime", "202401011100", False),
        ("FieldOfViewDimensionsInFloat", "0.1", True), ("RealWorldValueIntercept", "1e-1", True),
        ("ReferencePixelX0", "-70000", True), ("TagAngleSecondAxis", "-007", True),
        ("RegionLocationMinX0", "4294967295", True), ("RegionDataType", "0512", True),
        ("RegionDataType", "513", False),
    ):  # fmt: skip
        hits = found(main, "/studies", **{name: value, "StudyInstanceUID": uid})
        assert (uid in hits) is is_found, (name, value)
    assert uid in found(main, "/studies", PhysiciansOfRecord="uni", fuzzymatching="true")
    for name, value in (
        ("SeriesDate", "20240301-20240229"), ("SeriesDate", "x"),
        ("AcquisitionDateTime", "20240101120000+0100"), ("RegionDataType", "x"),
    ):  # fmt: skip
        assert main.get("/studies", params={name: value}).status_code == 400


@pytest.mark.spec("extended-query-tags", 46)
def test_partitions(main: httpx.Client) -> None:
    ds = dicom.ct(PatientSex="F", StudyID=secrets.token_hex(4))
    url = str(main.base_url).replace("/v2/", "/v1/")
    for name in ("tags.a", "tags.b"):
        answer = httpx.post(
            f"{url}partitions/{name}/studies", content=aged(ds, "foo "), headers=DICOM
        )
        assert answer.status_code == 200
    add(main, tag("PatientSex"), tag("PatientAge"))
    for name in ("tags.a", "tags.b"):
        assert found(main, f"/partitions/{name}/studies", PatientSex="F") == {ds.StudyInstanceUID}
    rows = main.get(f"/extendedquerytags/{AGE}/errors", params={"limit": 200}).json()
    assert {"tags.a", "tags.b"} <= {row["partitionName"] for row in rows}


@pytest.mark.spec("operations", 12)
def test_bulk_update_brings_its_tags_along(main: httpx.Client) -> None:
    from tests.e2e.test_bulk_update import update

    study = dicom.new_uid()
    data_sets = [dicom.ct(StudyInstanceUID=study, PatientAge="035Y") for _ in range(3)]
    assert store(main, *data_sets) == [200] * 3
    add(main, tag("PatientAge"), tag("PatientSex"))
    changes = {
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "New^Name"}]},
        AGE: {"vr": "AS", "Value": ["054Y"]},
        SEX: {"vr": "CS", "Value": ["M"]},
        "00080090": {"vr": "PN", "Value": [{"Alphabetic": "Doctor"}]},
    }
    assert update(main, [study], changes)["results"]["instanceUpdated"] == 3
    query = {"PatientAge": "054Y", "PatientSex": "M", "ReferringPhysicianName": "Doctor"}
    assert len(found(main, "/instances", **query, StudyInstanceUID=study)) == 3
    assert not found(main, "/instances", PatientAge="035Y", StudyInstanceUID=study)


@pytest.mark.spec("extended-query-tags", 47, 48)
def test_rights_and_records(house: House) -> None:
    url = "/main/v2/extendedquerytags"
    reader, owner, expired = house.headers(roles=READER), house.headers(), house.headers(exp=1)
    calls: list[tuple[str, str, Any, str, int]] = [
        ("POST", url, [tag("PatientSex")], "add-extended-query-tag", 202),
        ("GET", url, None, "get-all-extended-query-tag", 200),
        ("GET", f"{url}/{SEX}", None, "get-extended-query-tag", 200),
        ("GET", f"{url}/{SEX}/errors", None, "get-extended-query-tag-errors", 200),
        ("PATCH", f"{url}/{SEX}", {"queryStatus": "Enabled"}, "update-extended-query-tag", 200),
        ("DELETE", f"{url}/{SEX}", None, "remove-extended-query-tag", 204),
    ]
    for method, path, body, action, status in calls:
        for headers in (None, {"Authorization": "Bearer nonsense"}, expired):
            answer = house.http.request(method, path, json=body, headers=headers)
            assert answer.status_code == 401
        answer = house.http.request(method, path, json=body, headers=reader)
        assert answer.status_code == (200 if method == "GET" else 403)
        answer = house.http.request(method, path, json=body, headers=owner)
        assert answer.status_code == status
        entries = house.entries(answer.headers["x-correlation-id"])
        assert [(one["ActionType"], one["Action"]) for one in entries] == [
            ("Executing", action),
            ("Executed", action),
        ]
