import inspect
import json

import pytest

from shared import errors
from shared.web.problem import STATUS, problem, status_of

URI = "https://host/main/v3/studies"
ARGUMENTS = {
    errors.UnsupportedApiVersion: (URI, "3"),
    errors.RangeNotSatisfiable: (7,),
    errors.OperationRefused: (0, errors.Refusal.EXISTS),
    errors.InstanceRefused: (272, "why"),
    errors.NotDicom: ("why",),
    errors.Throttled: (),
    errors.Unavailable: (),
}
ALL = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, errors.DicomServiceError)
]
CONCRETE = [found for found in ALL if not found.__subclasses__() or found in ARGUMENTS]


def example(cause):
    return cause(*ARGUMENTS.get(cause, ("The message.",)))


@pytest.mark.parametrize("cause", CONCRETE)
def test_every_concrete_error_is_in_the_table(cause):
    assert any(base in STATUS for base in cause.__mro__)
    found = problem(example(cause), "id-1")
    assert found.status == status_of(example(cause))
    assert 400 <= found.status <= 599
    assert (found.media_type is None) == (not found.body)


def test_every_row_of_the_table_is_an_error():
    assert set(STATUS) <= set(ALL)


@pytest.mark.parametrize(
    ("cause", "status"),
    [
        (errors.MalformedRequest, 400),
        (errors.MalformedQuery, 400),
        (errors.InvalidUid, 400),
        (errors.InvalidFrameList, 400),
        (errors.InvalidPartitionName, 400),
        (errors.UnknownPartition, 400),
        (errors.UnsupportedApiVersion, 400),
        (errors.RequestTooSlow, 408),
        (errors.NotAuthenticated, 401),
        (errors.NotAllowed, 403),
        (errors.TenantNotFound, 404),
        (errors.RouteNotFound, 404),
        (errors.StudyNotFound, 404),
        (errors.SeriesNotFound, 404),
        (errors.InstanceNotFound, 404),
        (errors.FrameNotFound, 404),
        (errors.BulkDataNotFound, 404),
        (errors.BlobNotFound, 404),
        (errors.NotAcceptable, 406),
        (errors.AlreadyStored, 409),
        (errors.OperationRefused, 409),
        (errors.PreconditionFailed, 412),
        (errors.PayloadTooLarge, 413),
        (errors.UnsupportedMediaType, 415),
        (errors.RangeNotSatisfiable, 416),
        (errors.InstanceRefused, 400),
        (errors.NotDicom, 400),
        (errors.CorruptData, 500),
        (errors.Throttled, 503),
        (errors.Unavailable, 503),
    ],
)
def test_status(cause, status):
    assert status_of(example(cause)) == status


def test_a_new_subclass_has_the_status_of_its_base():
    class Newer(errors.StudyNotFound):
        pass

    assert status_of(Newer("x")) == 404


def test_message_is_plain_text():
    found = problem(errors.StudyNotFound("No such study."), "id-1")
    assert (found.body, found.media_type, found.headers) == ("No such study.", "text/plain", {})


def test_003_unknown_route_has_no_body():
    found = problem(errors.RouteNotFound("The path names no resource."), "id-1")
    assert (found.status, found.body, found.media_type) == (404, "", None)


def test_002_unsupported_version_is_json():
    found = problem(errors.UnsupportedApiVersion(URI, "3"), "id-1")
    assert found.media_type == "application/json"
    assert json.loads(found.body) == {
        "error": {
            "code": "UnsupportedApiVersion",
            "message": f"The HTTP resource that matches the request URI '{URI}' "
            "does not support the API version '3'.",
        }
    }


@pytest.mark.parametrize(
    ("error", "header"),
    [
        (errors.Throttled(0.0), "1"),
        (errors.Throttled(1.0), "1"),
        (errors.Throttled(1.01), "2"),
        (errors.Unavailable(5.0), "5"),
        (errors.Unavailable(1e12), "86400"),
        (errors.Throttled(float("inf")), "86400"),
        (errors.ServiceTrouble("x"), "5"),
    ],
)
def test_trouble_says_when_to_come_back(error, header):
    assert problem(error, "id-1").headers == {"Retry-After": header}


def test_range_outside_says_the_size():
    assert problem(errors.RangeNotSatisfiable(70), "id-1").headers == {
        "Content-Range": "bytes */70"
    }


@pytest.mark.parametrize("error", [ValueError("secret"), errors.CorruptData("secret"), KeyError()])
def test_a_defect_tells_only_the_correlation_id(error):
    found = problem(error, "id-1")
    assert found.status == 500
    assert "id-1" in found.body
    assert "secret" not in found.body
    assert found.media_type == "text/plain"
