"""The worklist over HTTP (spec worklist.md)."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from shared.ports import JsonObject
from shared.worklist.tables import TOP
from tests.support import dicom
from tests.support.house import READER, House
from tests.support.work_items import (
    KIND,
    PERFORMED,
    PROGRESS,
    code,
    sample,
    sq,
    state,
    value,
    work_item,
)


def post(http: httpx.Client, path: str, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, str) else json.dumps(body)
    return http.post(path, content=content, headers=KIND | headers)


def put(http: httpx.Client, uid: str, body: Any) -> httpx.Response:
    return http.put(f"/workitems/{uid}/state", content=json.dumps(body), headers=KIND)


def create(http: httpx.Client, uid: str | None = None, **changes: JsonObject | None) -> str:
    name = uid or dicom.new_uid()
    answer = post(http, f"/workitems?{name}", [work_item(name, **changes)])
    assert answer.status_code == 201, answer.text
    return name


def get(http: httpx.Client, uid: str) -> JsonObject:
    answer = http.get(f"/workitems/{uid}", headers=KIND)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/dicom+json"
    body: JsonObject = answer.json()
    assert "00081195" not in body
    return body


def claimed(http: httpx.Client) -> tuple[str, str]:
    uid, transaction = create(http), dicom.new_uid()
    assert put(http, uid, state("IN PROGRESS", transaction)).status_code == 200
    return uid, transaction


def text_of(body: JsonObject, tag: str) -> Any:
    return body[tag]["Value"][0]


def found(http: httpx.Client, **parameters: str) -> list[str]:
    answer = http.get("/workitems", params=parameters, headers=KIND)
    assert answer.status_code in (200, 204), answer.text
    return [text_of(row, "00080018") for row in answer.json()] if answer.content else []


@pytest.mark.spec("worklist", 1, 2, 3, 4, 5, 6, 7, 26, 28)
def test_creation(http: httpx.Client) -> None:
    uid = dicom.new_uid()
    answer = post(http, f"/workitems?{uid}", [work_item(uid)])
    assert (answer.status_code, answer.content) == (201, b"")
    for name in ("Location", "Content-Location"):
        assert answer.headers[name] == f"{http.base_url}workitems/{uid}"
    assert text_of(get(http, uid), "00080018") == uid
    assert post(http, f"/workitems?{uid}", [work_item(uid)]).status_code == 409
    for query in ("{}", "workitem={}", "AffectedSOPInstanceUID={}", "{}="):
        other = dicom.new_uid()
        path = f"/workitems?{query.format(other)}"
        assert post(http, path, [work_item(None)]).status_code == 201
        assert text_of(get(http, other), "00080018") == other
    assert post(http, "/workitems", [work_item(dicom.new_uid())]).status_code == 201
    assert post(http, "/workitems", [work_item(None)]).status_code == 400
    assert post(http, "/workitems?1.2.3", [work_item("1.2.4")]).status_code == 400
    assert post(http, "/workitems?abc", [work_item(None)]).status_code == 400
    assert http.get(f"/workitems/{dicom.new_uid()}", headers=KIND).status_code == 404
    assert http.get("/workitems/abc", headers=KIND).status_code == 400


@pytest.mark.spec("worklist", 8, 9, 72)
@pytest.mark.spec("partitions-and-security", 8)
@pytest.mark.spec("dicomweb", 18)
def test_partitions(http: httpx.Client) -> None:
    uid = create(http)
    for name in ("work.a", "work.b"):
        path = f"/partitions/{name}/workitems"
        answer = post(http, f"{path}?{uid}", [work_item(uid)])
        assert answer.status_code == 201
        assert answer.headers["Location"].endswith(f"/partitions/{name}/workitems/{uid}")
        rows = http.get(path, headers=KIND).json()
        assert [text_of(row, "00080018") for row in rows] == [uid]
    names = {one["partitionName"] for one in http.get("/partitions").json()}
    assert {"work.a", "work.b"} <= names
    assert http.get("/partitions/work.none/workitems", headers=KIND).status_code == 400


@pytest.mark.spec("worklist", 10, 11, 12, 58)
def test_forms(http: httpx.Client) -> None:
    uid = dicom.new_uid()
    text = json.dumps([work_item(uid)])
    kind = {"Content-Type": "application/json"}
    assert http.post("/workitems", content=text, headers=kind).status_code == 415
    for path in ("/workitems", "/workitems/1.2", "/workitems/1.2/cancelrequest"):
        xml = {"Content-Type": "application/dicom+xml"}
        assert http.post(path, content="<NativeDicomModel/>", headers=xml).status_code == 415
    assert http.put("/workitems/1.2/state", content=text, headers=kind).status_code == 415
    for accept in ("application/xml", "application/dicom+json;q=0", "text/html"):
        assert post(http, "/workitems", text, Accept=accept).status_code == 406
        assert http.get("/workitems", headers={"Accept": accept}).status_code == 406
        assert http.get("/workitems/1.2", headers={"Accept": accept}).status_code == 406
    for accept in ("*/*", "image/png, application/dicom+json", "APPLICATION/*;q=0.1"):
        assert post(http, "/workitems", [work_item(dicom.new_uid())], Accept=accept).is_success
    for body in ("", "[]", "{}", "[1]", "nonsense", "[[]]", '[{"1": {}}]', "\xff"):
        assert post(http, f"/workitems?{uid}", body).status_code == 400, body
    existing = create(http)
    for body in ("[]", "{}"):
        assert post(http, f"/workitems/{existing}/cancelrequest", body).status_code == 400
        assert post(http, f"/workitems/{existing}", body).status_code == 400
    for name, element in (
        ("00741204", value("LO", 7)), ("00100010", value("PN", "A^B")),
        ("001021C0", value("US", True)), ("00404025", sq({"00080100": value("SH", {})})),
        ("00091001", value("XX", "x")),
    ):  # fmt: skip
        answer = post(http, f"/workitems?{uid}", [work_item(uid) | {name: element}])
        assert answer.status_code == 400
        assert ("(0008,0100)" if name == "00404025" else name[:4]) in answer.text
        assert post(http, f"/workitems/{existing}", [{name: element}]).status_code == 400
    endless = text.replace('"MEDIUM"', "1e999")
    assert post(http, f"/workitems?{uid}", endless).status_code == 400
    large = work_item(uid, t00400400=value("LT", "x" * 2_000_000))
    assert post(http, f"/workitems?{uid}", [large]).status_code == 400
    assert http.get(f"/workitems/{uid}", headers=KIND).status_code == 404


def test_ten_thousand_codes_are_kept_or_refused_whole(http: httpx.Client) -> None:
    short = [{"00080104": value("LO", f"{number}")} for number in range(10_000)]
    uid = create(http, t00404018=sq(*short))
    assert get(http, uid)["00404018"] == sq(*short)
    assert post(http, f"/workitems/{uid}", [{"00404025": sq(*short[1:])}]).status_code == 200
    before = get(http, uid)
    long = sq(*(code(f"{number}") for number in range(10_000)))
    assert post(http, f"/workitems/{uid}", [{"00404018": long}]).status_code == 400
    broken = sq(*short, {"00080100": value("SH", "x")})
    answer = post(http, f"/workitems/{uid}", [{"00404018": broken}])
    assert answer.text.startswith("ScheduledWorkitemCodeSequence.CodeMeaning (0008,0104)")
    assert get(http, uid) == before
    for refused in (long, broken):
        other = dicom.new_uid()
        answer = post(http, f"/workitems?{other}", [work_item(other, t00404018=refused)])
        assert answer.status_code == 400
        assert http.get(f"/workitems/{other}", headers=KIND).status_code == 404


_SERVER_SETS = {0x00080016, 0x00404010, 0x00741202, 0x00741000}


@pytest.mark.spec("worklist", 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25)
def test_each_row_of_the_table_at_creation(http: httpx.Client) -> None:
    def status(uid: str | None = None, **changes: JsonObject | None) -> tuple[int, str]:
        answer = post(http, "/workitems", [work_item(uid or dicom.new_uid(), **changes)])
        return answer.status_code, answer.text

    assert status(t00081195=None)[0] == 400
    assert status(t00081195=value("UI", "1.2"))[0] == 400
    for row in TOP:
        tag, vr = f"t{row.tag:08X}", row.vr
        if row.tag in _SERVER_SETS or row.tag in (0x00081195, 0x00080018):
            continue
        if row.create == "1/1":
            for element in (None, {"vr": vr}, value(vr, " ")):
                code_, text = status(**{tag: element})
                assert (code_, tag[1:5].upper() in text) == (400, True), (tag, text)
        elif row.create == "2/2":
            assert status(**{tag: None})[0] == 400, tag
            assert status(**{tag: {"vr": vr}})[0] == 201, tag
    assert status(t00100020=None, t0020000D=None)[0] == 201
    assert status(t00100020={"vr": "LO"})[0] == 400
    assert status(t0020000D={"vr": "UI"})[0] == 400
    assert status(t00102000={"vr": "LO"})[0] == 400
    assert status(t00741002=sq({"00741004": value("DS", 1)}))[0] == 400
    assert status(t00741216=sq({"00404050": value("DT", "2026")}))[0] == 400
    no_meaning = {tag: element for tag, element in code("x").items() if tag != "00080104"}
    assert status(t00404025=sq(no_meaning))[0] == 400
    assert status(t00380014=sq({}))[0] == 201
    assert status(t00404009={"vr": "SQ"}, t00081150=value("UI", "1"),
                  t00741200=value("CS", "WHENEVER"))[0] == 201  # fmt: skip
    assert status(t00741200=value("LO", "HIGH"))[0] == 400
    uid = dicom.new_uid()
    assert status(uid, t00741000=value("CS", "COMPLETED"), t00741202=value("LO", "x"))[0] == 201
    body = get(http, uid)
    assert text_of(body, "00741000") == "SCHEDULED"
    assert text_of(body, "00741202") == "worklist"
    assert text_of(body, "00080016") == "1.2.840.10008.5.1.4.34.6.1"


@pytest.mark.spec("worklist", 29, 30, 34, 35, 36, 37, 38, 39, 40)
def test_update_of_a_scheduled_item(http: httpx.Client) -> None:
    uid = create(http, t00404025=sq(code("one"), code("two")))
    before = get(http, uid)
    minimal = sq({"00404033": PERFORMED["Value"][0]["00404033"]})
    answer = post(http, f"/workitems/{uid}",
                  [{"00741202": value("LO", "urgent"), "00741216": minimal,
                    "00404025": sq(code("three")), "00404005": value("DT", "20300101"),
                    "00081195": {"vr": "UI"}}])  # fmt: skip
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Location"] == f"{http.base_url}workitems/{uid}"
    after = get(http, uid)
    assert text_of(after, "00741202") == "urgent"
    assert len(after["00404025"]["Value"]) == 1
    assert text_of(after, "00404010") > text_of(before, "00404010")
    assert uid in found(http, ScheduledProcedureStepStartDateTime="20300101")
    forbidden = [row for row in TOP if row.update == "X"]
    assert len(forbidden) == 15
    for row in forbidden:
        for element in (sample(row, creating=False), {"vr": row.vr}):
            answer = post(http, f"/workitems/{uid}", [{f"{row.tag:08X}": element}])
            assert answer.status_code == 400, row
            assert answer.text.startswith(f"{row.keyword} ({row.tag >> 16:04X}"), row
            assert answer.text.endswith("may not be there."), row
            assert answer.headers["Warning"].startswith("299 ")
    assert get(http, uid) == after
    for refused in (
        {"00100020": value("LO", "other")},
        {"00741000": value("CS", "COMPLETED")},
        {"00741204": {"vr": "LO"}},
        {"00741216": sq({"00404050": value("DT", "2026")})},
    ):  # fmt: skip
        answer = post(http, f"/workitems/{uid}", [refused])
        assert answer.status_code == 400, refused
        assert answer.headers["Warning"].startswith("299 ")
    assert get(http, uid) == after
    warned = post(http, f"/workitems/{uid}?1.2.3", [{"00741202": value("LO", "x")}])
    assert warned.status_code == 400
    assert warned.headers["Warning"].endswith(f': "{warned.text}"')
    unknown = post(http, f"/workitems/{dicom.new_uid()}", [{"00741202": value("LO", "x")}])
    assert unknown.status_code == 404


@pytest.mark.spec("worklist", 27, 31, 32, 33)
@pytest.mark.bug_report(59)
def test_update_by_the_owner(http: httpx.Client) -> None:
    uid, transaction = claimed(http)
    get(http, uid)
    body = [{"00741202": value("LO", "x"), "00081195": value("UI", "9.9")}]
    for query in ("{}", "transaction-uid={}", "Transaction-uid={}", "transaction={}"):
        answer = post(http, f"/workitems/{uid}?{query.format(transaction)}", body)
        assert answer.status_code == 200, query
    for query in ("", "?1.2.3", "?transaction-uid=1.2.3"):
        answer = post(http, f"/workitems/{uid}{query}", body)
        assert answer.status_code == 400
        assert "299" in answer.headers["Warning"]
        assert transaction not in answer.text
    assert text_of(get(http, uid), "00741202") == "x"
    assert put(http, uid, state("IN PROGRESS", transaction)).status_code == 400
    done = post(http, f"/workitems/{uid}?{transaction}", [{"00741216": PERFORMED}])
    assert done.status_code == 200
    assert put(http, uid, state("COMPLETED", transaction)).status_code == 200
    canceled = create(http)
    assert post(http, f"/workitems/{canceled}/cancelrequest", [{}]).status_code == 202
    for name in (uid, canceled):
        for query in ("", f"?{transaction}"):
            answer = post(http, f"/workitems/{name}{query}", body)
            assert answer.status_code == 400
            assert "Warning" in answer.headers


@pytest.mark.spec("worklist", 42, 43, 44, 45, 46, 47, 48, 49, 50, 51)
def test_states(http: httpx.Client) -> None:
    uid, transaction = create(http), dicom.new_uid()
    for target in ("COMPLETED", "CANCELED"):
        assert put(http, uid, state(target, transaction)).status_code == 400
    for body in (state("IN PROGRESS", None), state(None, transaction),
                 state("IN PROGRESS", "abc"), state("IN PROGRESS", "1" * 65),
                 state("in progress", transaction), state("SCHEDULED", transaction)):  # fmt: skip
        assert put(http, uid, body).status_code == 400
    unknown = put(http, dicom.new_uid(), state("IN PROGRESS", transaction))
    assert unknown.status_code == 404
    done = put(http, uid, state("IN PROGRESS", transaction))
    assert (done.status_code, done.content, "Warning" in done.headers) == (200, b"", False)
    assert text_of(get(http, uid), "00741000") == "IN PROGRESS"
    for owner, code_ in ((transaction, "C302"), (dicom.new_uid(), "C301")):
        refused = put(http, uid, state("IN PROGRESS", owner))
        assert refused.status_code == 400
        assert code_ in refused.text
        assert code_ in refused.headers["Warning"]
    for missing in ("00404028", "00404050", "00404019", "00404051"):
        [item] = PERFORMED["Value"]
        less = sq({tag: element for tag, element in item.items() if tag != missing})
        path = f"/workitems/{uid}?{transaction}"
        assert post(http, path, [{"00741216": less}]).status_code == 200
        assert put(http, uid, state("COMPLETED", transaction)).status_code == 400
        assert text_of(get(http, uid), "00741000") == "IN PROGRESS"
    assert put(http, uid, state("CANCELED", transaction)).status_code == 400
    assert post(http, f"/workitems/{uid}?{transaction}", [{"00741216": PERFORMED}]).is_success
    assert put(http, uid, state("COMPLETED", dicom.new_uid())).status_code == 400
    assert put(http, uid, state("COMPLETED", transaction)).status_code == 200
    again = put(http, uid, state("COMPLETED", transaction))
    assert again.status_code == 200
    assert "B306" in again.headers["Warning"]
    assert put(http, uid, state("CANCELED", transaction)).status_code == 400
    uid, transaction = claimed(http)
    assert post(http, f"/workitems/{uid}?{transaction}", [{"00741002": PROGRESS}]).is_success
    assert put(http, uid, state("CANCELED", transaction)).status_code == 200
    again = put(http, uid, state("CANCELED", transaction))
    assert again.status_code == 200
    assert "B304" in again.headers["Warning"]


@pytest.mark.spec("worklist", 52)
def test_the_whole_path(http: httpx.Client) -> None:
    uid, transaction = create(http), dicom.new_uid()
    assert post(http, f"/workitems/{uid}", [{"00741204": value("LO", "AI")}]).is_success
    assert text_of(get(http, uid), "00741204") == "AI"
    assert put(http, uid, state("IN PROGRESS", transaction)).is_success
    assert text_of(get(http, uid), "00741000") == "IN PROGRESS"
    path = f"/workitems/{uid}?{transaction}"
    progress = sq({"00741004": value("DS", 50)})
    assert post(http, path, [{"00741002": progress}]).is_success
    assert get(http, uid)["00741002"] == progress
    assert post(http, path, [{"00741216": PERFORMED}]).is_success
    assert put(http, uid, state("COMPLETED", transaction)).is_success
    assert text_of(get(http, uid), "00741000") == "COMPLETED"


@pytest.mark.spec("worklist", 53, 54, 55, 56, 57)
@pytest.mark.bug_report(62)
def test_cancellation_by_others(http: httpx.Client) -> None:
    uid = create(http)
    asked = [{"00741238": value("LT", "No need"), "0074100A": value("UR", "tel:1"),
              "0074100C": value("LO", "Front desk")}]  # fmt: skip
    path = f"/workitems/{uid}/cancelrequest"
    assert post(http, path, asked).status_code == 202
    body = get(http, uid)
    assert text_of(body, "00741000") == "CANCELED"
    item = text_of(body, "00741002")
    assert text_of(text_of(item, "0074100E"), "00741238") == "No need"
    assert text_of(text_of(item, "00741008"), "0074100A") == "tel:1"
    assert text_of(item, "00404052")
    assert uid in found(http, ProcedureStepState="CANCELED", SOPInstanceUID=uid)
    again = post(http, path, asked)
    assert again.status_code == 409
    assert again.json() == "The UPS is already in the requested state of CANCELED."
    host = http.base_url.host
    assert again.headers.get_list("Warning") == [f'299 {host}: "{again.json()}"']
    assert post(http, f"/workitems/{create(http)}/cancelrequest", [work_item("1.2")]).is_success
    unknown = post(http, f"/workitems/{dicom.new_uid()}/cancelrequest", [{}])
    assert unknown.status_code == 404
    assert unknown.json() == "The workitem instance is not found."
    uid, transaction = claimed(http)
    before = get(http, uid)
    assert post(http, f"/workitems/{uid}/cancelrequest", [{}]).status_code == 409
    assert get(http, uid) == before
    assert post(http, f"/workitems/{uid}?{transaction}", [{"00741216": PERFORMED}]).is_success
    assert put(http, uid, state("COMPLETED", transaction)).is_success
    assert post(http, f"/workitems/{uid}/cancelrequest", [{}]).status_code == 409


@pytest.mark.spec("worklist", 59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70)
def test_search(http: httpx.Client) -> None:
    name = f"Jonathan^X^Stone {dicom.new_uid()[-6:]}^^"
    uid = create(
        http,
        t00100010=value("PN", {"Alphabetic": name}),
        t00404025=sq(code("first"), code("testCodeVal")),
        t00404011=value("DT", "20261126"),
        t00404005=value("DT", "20211125"),
    )
    own = {"SOPInstanceUID": uid}
    answer = http.get("/workitems?Modality=CT", headers=KIND)
    assert (answer.status_code, answer.text) == (
        400,
        "Invalid query: AttributeId Modality is not queryable.  If the parameter is an attribute "
        "keyword, check the casing as they are case-sensitive. The conformance statement has a "
        "list of supported query parameters, attributes and the levels.",
    )
    assert found(http, PatientID="20200101") == []
    assert found(http, PatientName=name) == [uid]
    assert found(http, ProcedureStepState="SCHEDULED", **own) == [uid]
    for key in ("ScheduledStationNameCodeSequence.CodeValue", "00404025.00080100"):
        for text in ("testCodeVal", "FIRST"):
            [row] = http.get("/workitems", params={key: text, **own}, headers=KIND).json()
            assert len(row["00404025"]["Value"]) == 2
    fuzzy = {"PatientName": "X", "FuzzyMatching": "true", **own}
    [row] = http.get("/workitems", params=fuzzy, headers=KIND).json()
    assert text_of(row, "00100010")["Alphabetic"] == name
    for limit in ("500", "0", "x"):
        answer = http.get("/workitems", params={"limit": limit}, headers=KIND)
        assert answer.status_code == 400
        assert answer.text == (
            "The query parameter 'Limit' is invalid. The field Limit must be between 1 and 200."
        )
    assert http.get("/workitems?offset=-1", headers=KIND).status_code == 400
    for text, status in (("2021-2022", 200), ("2021-", 200), ("-2022", 200), ("-", 400),
                         ("2022-2021", 400)):  # fmt: skip
        answer = http.get("/workitems", params={"00404005": text, **own}, headers=KIND)
        assert answer.status_code == status, text
    for query in ("PatientID=1&00100020=1", "0040A370.00080050.00080051=1", "patientID=1",
                  "PatientName=%22&fuzzymatching=true",
                  "includefield=0040A370.00080050", "includefield=nothing"):  # fmt: skip
        assert http.get(f"/workitems?{query}", headers=KIND).status_code == 400, query
    # an empty value matches everything (PS3.4 C.2.2.2.3), where the Azure service refuses it
    assert found(http, PatientID="", **own) == [uid]
    assert found(http, PatientID="P-*", **own) == [uid]
    [row] = http.get("/workitems", params=own, headers=KIND).json()
    assert "00404011" not in row
    [row] = http.get("/workitems", params={"includefield": "00404011", **own}, headers=KIND).json()
    assert text_of(row, "00404011") == "20261126"
    transaction = dicom.new_uid()
    assert put(http, uid, state("IN PROGRESS", transaction)).is_success
    for field in ("all", "00081195", "all,PatientName"):
        answer = http.get("/workitems", params={"includefield": field, **own}, headers=KIND)
        assert transaction not in answer.text
    label = dicom.new_uid()[-12:]
    five = [create(http, t00741204=value("LO", label)) for _ in range(5)]
    pages = [
        found(http, ProcedureStepLabel=label, limit="2", offset=str(offset))
        for offset in (0, 2, 4, 5)
    ]
    assert pages == [five[:2:-1], five[2:0:-1], five[:1], []]
    first = http.get("/workitems", params={"ProcedureStepLabel": label, "limit": 3}, headers=KIND)
    rest = http.get(first.links["next"]["url"], headers=KIND).json()
    assert [text_of(row, "00080018") for row in rest] == five[1::-1]


def test_of_two_claimants_one_wins(http: httpx.Client) -> None:
    items = [create(http) for _ in range(8)]
    owners = [dicom.new_uid() for _ in range(10)]

    def claim(owner: str) -> list[str]:
        return [uid for uid in items if put(http, uid, state("IN PROGRESS", owner)).is_success]

    with ThreadPoolExecutor(len(owners)) as pool:
        won = dict(zip(owners, pool.map(claim, owners), strict=True))
    assert sorted(uid for uids in won.values() for uid in uids) == sorted(items), "once each"
    for owner, uids in won.items():
        for uid in uids:
            body = [{"00741204": value("LO", owner[-9:])}]
            assert post(http, f"/workitems/{uid}?{owner}", body).status_code == 200


@pytest.mark.spec("worklist", 73, 74)
@pytest.mark.spec("partitions-and-security", 31)
def test_rights_and_records(house: House) -> None:
    reader, owner = house.headers(roles=READER) | KIND, house.headers() | KIND
    uid, transaction = dicom.new_uid(), dicom.new_uid()
    url = "/main/v2/workitems"
    calls: list[tuple[str, str, Any, str, int, bool]] = [
        ("POST", url, [work_item(uid)], "add-workitem", 201, False),
        ("GET", f"{url}/{uid}", None, "retrieve-workitem", 200, True),
        ("GET", url, None, "query-workitem", 200, True),
        ("POST", f"{url}/{uid}", [{"00741204": value("LO", "x")}], "update-workitem", 200, False),
        ("POST", f"{url}/{uid}/cancelrequest", [{}], "cancel-workitem", 202, False),
        ("PUT", f"{url}/{uid}/state", state("CANCELED", transaction), "change-state-workitem", 400,
         False),
    ]  # fmt: skip
    for method, path, body, action, status, reads in calls:
        content = None if body is None else json.dumps(body)
        answer = house.http.request(method, path, content=content, headers=reader)
        if not reads:
            assert answer.status_code == 403, path
        answer = house.http.request(method, path, content=content, headers=owner)
        assert answer.status_code == status, answer.text
        entries = house.entries(answer.headers["x-correlation-id"])
        assert [(one["ActionType"], one["Action"]) for one in entries] == [
            ("Executing", action),
            ("Executed", action),
        ]
