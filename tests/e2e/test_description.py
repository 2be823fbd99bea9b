"""The descriptions of the API, and requests that are made up from them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.support.server import Server

_GOLDEN = Path(__file__).parents[1] / "contract" / "golden" / "bindings.json"
_WADL = "{http://wadl.dev.java.net/2009/02}"


@pytest.mark.parametrize("document", ["v1", "v2", "v1.0-prerelease"])
def test_the_description_is_valid(server: Server, document: str) -> None:
    answer = httpx.get(f"{server.base_url}/{document}/api.json")
    assert answer.headers["content-type"] == "application/json"
    found = answer.json()
    OpenAPIV31SpecValidator(found).validate()
    assert found["info"] == {"title": "Medical Imaging Server for DICOM", "version": document}
    assert found["servers"] == [{"url": server.base_url}]
    assert f"/{{tenant}}/{document}/studies/{{study}}" in found["paths"]
    assert ("$undelete" in answer.text) == (document == "v2")
    yaml = httpx.get(f"{server.base_url}/{document}/api.yaml")
    assert (yaml.headers["content-type"], yaml.json()) == ("application/yaml", found)


def test_every_route_is_described_and_no_other(server: Server) -> None:
    paths = httpx.get(f"{server.base_url}/v2/api.json").json()["paths"]
    described = {
        (path.lstrip("/"), method.upper()) for path, methods in paths.items() for method in methods
    }
    bound = {
        (trigger["route"].replace("v{version}", "v2"), method)
        for name, bindings in json.loads(_GOLDEN.read_text("utf-8")).items()
        for trigger in bindings
        if trigger["type"] == "httpTrigger" and name != "z_fallback"
        for method in trigger["methods"]
    }
    assert described == bound
    assert httpx.get(f"{server.base_url}/v3/api.json").status_code == 404


def test_capabilities(http: httpx.Client) -> None:
    answer = http.options("/")
    assert answer.headers["content-type"] == "application/vnd.sun.wadl+xml"
    [resources] = ElementTree.fromstring(answer.content)
    assert resources.get("base") == str(http.base_url)
    methods = {
        resource.get("path"): [one.get("name") for one in resource.findall(f"{_WADL}method")]
        for resource in resources
    }
    assert sorted(map(str, methods["studies"])) == ["GET", "HEAD", "POST", "PUT"]
    found = http.options("/", headers={"Accept": "application/json"}).json()
    assert {one["path"] for one in found["resources"]} == methods.keys()
    assert http.options("/", headers={"Accept": "image/png"}).status_code == 406


@pytest.mark.timeout(120)
def test_made_up_requests_never_fail_the_service(server: Server, tmp_path: Path) -> None:
    if server.environment["DICOM_TENANTS"] != "main,other":
        pytest.skip("once is enough: the same code runs under both hosts")
    description = httpx.get(f"{server.base_url}/v2/api.json").json()
    for methods in description["paths"].values():
        for operation in methods.values():
            operation.pop("requestBody", None)  # bad bodies of a store have tests of their own
            for parameter in operation["parameters"]:
                if parameter["name"] == "tenant":
                    parameter["schema"] = {"const": "other"}
    (tmp_path / "api.json").write_text(json.dumps(description), "utf-8")
    outcome = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")), "run",
            "api.json", "--url", server.base_url, "--checks", "not_a_server_error",
            "--phases", "fuzzing", "--max-examples", "2", "--max-failures", "5",
            "--include-path-regex", "^/[{]tenant[}]/v2/(studies|series|instances|partitions$)",
            "--seed", "1", "--request-timeout", "30", "--generation-database", "none",
        ],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=110,
    )  # fmt: skip
    assert outcome.returncode == 0, outcome.stdout[-4000:] + outcome.stderr[-2000:]
