"""The OpenAPI 3.1 document, made of what requests are parsed by and rows are held to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django_pagestats import __version__
from django_pagestats.api.operations import OPERATIONS, Operation
from django_pagestats.api.parameters import Parameter
from django_pagestats.api.problems import CONTENT_TYPE
from django_pagestats.api.values import Value

DESCRIPTION = (
    "Exact page statistics: page views and unique visitors of any range, each answer of one instant. A range is"
    " [start, end): its end is not in it. For users with the permission view_statistics, and for tokens."
)
#: what may be answered in place of an answer, whatever is asked
PROBLEMS = {
    "400": "A parameter is missing, unknown, or no question.",
    "401": "Nobody is signed in, and no token in force is shown.",
    "403": "Who asks may not ask this.",
    "405": "Another method than GET and HEAD.",
    "503": "It cannot be answered now.",
}
ETAG = (
    "As long as no page view comes in and none is folded, an answer is the same. A token of a part has an ETag of the"
    " answer itself."
)


def document(url: str) -> dict[str, Any]:
    """Of an API at a URL."""
    paths = {f"/{operation.name}": {"get": _operation(operation)} for operation in OPERATIONS}
    paths["/openapi.json"] = {"get": _own()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Page statistics", "version": __version__, "description": DESCRIPTION},
        "servers": [{"url": url}],
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Made by `manage.py pagestats_token create NAME`.",
                },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "sessionid",
                    "description": "Of a user with the permission django_pagestats.view_statistics.",
                },
            },
            "schemas": {"Problem": _problem()},
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": operation.description,
        "parameters": [_parameter(parameter) for parameter in operation.all_parameters],
        "responses": {"200": _answer(operation), **_problems(PROBLEMS)},
    }
    if operation.is_of_page_views:
        found["responses"]["412"] = {"description": "The ETag of If-Match does not hold any more. It has no body."}
        found["responses"]["304"] = {"description": f"The ETag of If-None-Match still holds. {ETAG}"}
        found["parameters"].append(
            {
                "name": "If-None-Match",
                "in": "header",
                "description": "The ETag of an answer of before.",
                "schema": {"type": "string"},
            }
        )
    if any(parameter.name == "cursor" for parameter in operation.parameters):
        conflict = "Page views of the list came in, and it is ordered by them: begin again."
        found["responses"] |= _problems({"409": conflict})
    return found


def _own() -> dict[str, Any]:
    described = {"description": "OpenAPI 3.1.", "content": {"application/json": {"schema": {"type": "object"}}}}
    return {
        "operationId": "openapi",
        "summary": "This document",
        "responses": {"200": described, **_problems({code: PROBLEMS[code] for code in ("400", "401", "403", "405")})},
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema = parameter.schema()
    if parameter.default is not None:
        schema["default"] = parameter.default
    if parameter.most is not None:
        schema = {"type": "array", "items": schema, "maxItems": parameter.most}
        if parameter.is_required:
            schema["minItems"] = 1
    found = {
        "name": parameter.name,
        "in": "query",
        "description": parameter.description,
        "required": parameter.is_required,
        "schema": schema,
    }
    if parameter.most is not None:
        found |= {"style": "form", "explode": True}
    if parameter.example is not None:
        found["example"] = parameter.example
    return found


def _answer(operation: Operation) -> dict[str, Any]:
    members = _members(operation.columns)
    if operation.is_list:
        rows = {"type": "array", "items": members}
        schema = _members(operation.fields)
        schema["properties"]["rows"] = rows
        schema["required"].append("rows")
    else:
        schema = _members([*operation.fields, *operation.columns])
    content = {
        "application/json": {"schema": schema},
        "text/csv": {"schema": {"type": "string", "description": f"With the head {_head(operation.columns)}."}},
    }
    found: dict[str, Any] = {"description": operation.summary, "content": content}
    if operation.is_of_page_views:
        found["headers"] = {"ETag": {"description": ETAG, "schema": {"type": "string"}}}
    return found


def _head(columns: Sequence[Value]) -> str:
    return ",".join(column.name for column in columns)


def _members(values: Sequence[Value]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {value.name: value.schema() for value in values},
        "required": [value.name for value in values],
        "additionalProperties": False,
    }


def _problems(told: dict[str, str]) -> dict[str, Any]:
    content = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {code: {"description": description, "content": content} for code, description in told.items()}


def _problem() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "description": "Problem details (RFC 9457).",
        "properties": {
            "title": text,
            "status": {"type": "integer"},
            "detail": {**text, "description": "What is wrong with which value, and what would do."},
            "parameter": {**text, "description": "The parameter that it is about, where it is about one."},
            "value": {"type": ["string", "null"], "description": "Its value; null where it has none."},
        },
        "required": ["title", "status", "detail"],
        "additionalProperties": False,
    }
