"""The service described for programs, from the route table: OpenAPI 3.1, and WADL (PS3.18 8.9)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any
from xml.sax.saxutils import quoteattr

from functions._catalogue import Operation, operations

TITLE = "Medical Imaging Server for DICOM"
_WADL = "http://wadl.dev.java.net/2009/02"
_VERSIONED = "{tenant}/v{version}"
_PARAMETER = re.compile(r"\{(\w+)\}")
_TEXT = {"type": "string"}
_ERROR = {
    "description": "An error; the text names its cause.",
    "content": {"text/plain": {"schema": _TEXT}},
}


def _offered(major: int) -> Iterator[Operation]:
    """The triggers of a version; those marked by ``$`` came with the second."""
    return (one for one in operations() if major > 1 or "/$" not in one.route)


def openapi(version: str, base_url: str) -> dict[str, Any]:
    """The OpenAPI document of a version.

    Parameters
    ----------
    version : str
        As in paths, without its ``v``.
    base_url : str
        The public address.
    """
    paths: dict[str, dict[str, Any]] = {}
    for operation in _offered(int(version[0])):
        path = "/" + operation.route.replace("v{version}", f"v{version}", 1)
        for method in operation.methods:
            paths.setdefault(path, {})[method.lower()] = _operation(operation, method, path)
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": f"v{version}"},
        "servers": [{"url": base_url}],
        "paths": paths,
    }


def _operation(operation: Operation, method: str, path: str) -> dict[str, Any]:
    doc = operation.doc
    found: dict[str, Any] = {
        "operationId": operation.name + ("_head" if method == "HEAD" else ""),
        "summary": operation.summary,
        "parameters": [
            *(
                {"name": name, "in": "path", "required": True, "schema": _TEXT}
                for name in _PARAMETER.findall(path)
            ),
            *({"name": name, "in": "query", "schema": _TEXT} for name in doc.query),
            *({"name": name, "in": "header", "schema": _TEXT} for name in doc.headers),
        ],
        "responses": {str(status): _response(operation, status, method) for status in doc.statuses}
        | {"default": _ERROR},
    }
    if doc.attributes:
        free = {"type": "object", "additionalProperties": _TEXT}
        found["parameters"].append(
            {"name": "attributes", "in": "query", "style": "form", "explode": True, "schema": free}
        )
    if doc.takes:
        found["requestBody"] = {"required": True, "content": {name: {} for name in doc.takes}}
    return found


def _response(operation: Operation, status: int, method: str) -> dict[str, Any]:
    if status >= 400:
        return _ERROR
    found: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if status not in (204, 304) and method != "HEAD":
        found["content"] = {name: {} for name in operation.doc.answers}
    return found


def capabilities(base_url: str, major: int) -> dict[str, Any]:
    """What is below ``/{tenant}/v{n}``, as members that ``wadl`` writes and JSON shows.

    References
    ----------
    PS3.18 8.9.
    """
    resources: dict[str, list[dict[str, Any]]] = {}
    for operation in _offered(major):
        if not operation.route.startswith(f"{_VERSIONED}/"):
            continue
        path = operation.route.removeprefix(f"{_VERSIONED}/")
        resources.setdefault(path, []).extend(
            {
                "name": method,
                "id": operation.name + ("_head" if method == "HEAD" else ""),
                "query": list(operation.doc.query),
                "takes": list(operation.doc.takes),
                "statuses": list(operation.doc.statuses),
                "answers": list(operation.doc.answers),
            }
            for method in operation.methods
        )
    return {
        "base": f"{base_url}/",
        "resources": [{"path": path, "methods": found} for path, found in resources.items()],
    }


def wadl(found: dict[str, Any]) -> str:
    """Capabilities as a Web Application Description Language document."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f'<application xmlns="{_WADL}">']
    lines.append(f"<resources base={quoteattr(found['base'])}>")
    for resource in found["resources"]:
        lines.append(f"<resource path={quoteattr(resource['path'])}>")
        lines += [
            f'<param name="{name}" style="template"/>'
            for name in _PARAMETER.findall(resource["path"])
        ]
        for method in resource["methods"]:
            lines += _wadl_method(method)
        lines.append("</resource>")
    return "\n".join([*lines, "</resources>", "</application>", ""])


def _wadl_method(method: dict[str, Any]) -> Iterator[str]:
    yield f'<method name="{method["name"]}" id="{method["id"]}">'
    yield "<request>"
    yield from (f'<param name="{name}" style="query"/>' for name in method["query"])
    yield from (f"<representation mediaType={quoteattr(name)}/>" for name in method["takes"])
    yield "</request>"
    for status in method["statuses"]:
        yield f'<response status="{status}">'
        if status in (200, 202, 206):
            yield from (
                f"<representation mediaType={quoteattr(one)}/>" for one in method["answers"]
            )
        yield "</response>"
    yield "</method>"
