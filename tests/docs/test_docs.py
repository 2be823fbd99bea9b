"""The documents agree with the code."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from functions import _catalogue
from shared import errors

ROOT = Path(__file__).resolve().parents[2]
_DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bench/*.md")], key=str
)
_SETTING = re.compile(
    r"\b(?:DICOM_[A-Z_]+|DicomStorage(?:__\w+)?|DicomCosmos__\w+|WEBSITE_HOSTNAME"
    r"|FUNCTIONS_REQUEST_BODY_SIZE_LIMIT|AzureWebJobsStorage|COSMOS_(?:ENDPOINT|KEY)|UPDATE_GOLDEN)\b"
)


def _code(*folders: str) -> str:
    return "\n".join(
        path.read_text("utf-8")
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
    )


def _text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_every_setting_is_documented_and_every_documented_one_exists() -> None:
    folders = ("functions", "shared", "local_host", "devtools", "infra", "tests")
    deployment = [ROOT / "infra/main.parameters.json", *ROOT.glob("infra/**/*.bicep")]
    texts = [_code(*folders), *(path.read_text("utf-8") for path in deployment)]
    used = set(_SETTING.findall("\n".join(texts)))
    used -= {"DICOM_JSON", "DICOM_XML"}  # constants of shared.web.media_types
    documented = set(_SETTING.findall(_text("docs/settings.md")))
    assert used == documented


@cache
def _functions() -> dict[str, dict[str, object]]:
    """The triggers of the app, from a process of its own: an app can be read only once."""
    program = (
        "import json, function_app\n"
        "print(json.dumps({f.get_function_name(): f.get_trigger().get_dict_repr()"
        " for f in function_app.app.get_functions()}, default=lambda v: v.value))"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found: dict[str, dict[str, object]] = json.loads(outcome.stdout)
    return found


def test_every_route_is_a_row_of_the_conformance_statement() -> None:
    rows = dict(
        re.findall(r"^\| [^|]+\| `(\w+)` \| (\w+ `[^`]+`)", _text("docs/conformance.md"), re.M)
    )
    routes = {}
    for name, trigger in _functions().items():
        if trigger["type"] != "httpTrigger":
            continue
        route = str(trigger["route"])
        if "/partitions/{partition}/" in route:
            assert name.endswith("_in_partition")
            continue
        resource = route.removeprefix("{tenant}/v{version}/")
        if route == "{*path}":
            continue  # what no route answers
        methods = trigger["methods"]
        assert isinstance(methods, list)
        assert (methods[1:] == ["HEAD"]) == (methods[0] == "GET"), name
        method = methods[0]
        routes[name] = f"{method} `{resource if resource != route else '/' + route}`"
    assert rows == routes


@pytest.mark.parametrize("document", ["docs/conformance.md", "docs/security.md"])
def test_every_test_that_a_statement_names_exists(document: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", _text(document))
    assert named
    for file, test in named:
        assert re.search(rf"def {test}\(", _text(file)), f"{file}::{test}"


@pytest.mark.parametrize("document", _DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", document.read_text("utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_the_readme_starts_it_in_two_commands() -> None:
    text = _text("README.md")
    assert "python3 dev.py serve" in text
    assert "python3 dev.py test" in text


def test_every_error_is_in_the_tree_that_its_module_draws() -> None:
    names = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.DicomServiceError)
    }
    assert errors.__doc__
    drawn = set(re.findall(r"\b[A-Z][A-Za-z]+\b", errors.__doc__))
    assert names <= drawn


@pytest.mark.parametrize("use_case", ["store", "search", "retrieve", "delete"])
def test_every_use_case_names_its_clause(use_case: str) -> None:
    text = _text(f"shared/{use_case}/service.py")
    assert re.search(r"PS3\.\d+ \d+|spec dicomweb\.md §\d", text)


def test_no_machine_and_no_registry_is_named() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    forbidden = re.compile("/" + r"(work|root|farm)/|registry\.npmjs|pythonhosted|pypi\.org/simple")
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.suffix in (".py", ".md", ".json", ".toml", ".txt", ".sh", "") and path.is_file():
            found = forbidden.search(path.read_text("utf-8", "replace"))
            if path != Path(__file__):
                assert found is None, f"{name}: {found}"


def test_no_module_is_too_large_to_know() -> None:
    """400 lines is the aim for the product, 600 the end for everything (style 3.1)."""
    for path in ROOT.rglob("*.py"):
        part = path.relative_to(ROOT).parts[0]
        if part.startswith(".") or part == "node_modules":
            continue
        lines = len(path.read_text("utf-8").splitlines())
        assert lines <= (600 if part in ("tests", "bench") else 400), f"{path}: {lines} lines"


def test_every_media_type_and_parameter_of_the_api_is_in_the_conformance_statement() -> None:
    importlib.import_module("function_app")  # enters all triggers
    text = _text("docs/conformance.md")
    operations = list(_catalogue.operations())
    assert len(operations) > 50
    for operation in operations:
        doc = operation.doc
        for word in (*doc.answers, *doc.takes, *doc.query, *doc.headers):
            assert f"`{word}`" in text, f"{operation.name}: {word}"
