"""The description of the service for programs and for the page /docs, made from the model that answers."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from ..config import Contract
from .served import Served

JSON_TYPES = {"integer": "integer", "float": "number", "boolean": "boolean"}
DETAIL = {"type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]}
REFUSALS = {
    401: "The API key is missing or wrong",
    413: "The body is too large",
    415: "The body is not JSON",
    503: "No model is loaded yet, or too many requests are waiting",
}
FAULTS = {
    "type": "object",
    "required": ["detail"],
    "properties": {
        "detail": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["row", "field", "rule", "value", "message"],
                "properties": {
                    "row": {"type": ["integer", "null"], "description": "number of the row, from 0"},
                    "field": {"type": ["string", "null"]},
                    "rule": {"type": "string", "description": "the rule of the contract that the value breaks"},
                    "value": {"description": "the refused value"},
                    "message": {"type": "string"},
                },
            },
        }
    },
}


def describe(app: FastAPI, served: Served | None) -> dict[str, Any]:
    """Return the OpenAPI description; without a model yet, `/predict` is described without fields."""
    described = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    described["components"] = {"schemas": {"Refusal": DETAIL, "Faults": FAULTS}}
    if app.state.service.settings.serve_api_key:
        described["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        described["security"] = [{"key": []}]
    for path, operations in described["paths"].items():
        for operation in operations.values():
            wanted = {413, 415, 503} if path == "/predict" else {503} if path in {"/model", "/health/ready"} else set()
            if app.state.service.settings.serve_api_key and not path.startswith("/health"):
                wanted.add(401)
            operation["responses"] |= {str(status): _response(REFUSALS[status], "Refusal") for status in wanted}
    predict = described["paths"]["/predict"]["post"]
    predict["requestBody"] = {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
    predict["responses"] |= {"422": _response("A row breaks the contract; none is predicted", "Faults")}
    if served:
        described["info"]["description"] = f"Predictions of {app.title} version {served.version}."
        described["components"]["schemas"] |= {"Row": served.schema.row, "Answer": _answer(served)}
        predict["requestBody"]["content"]["application/json"] = {
            "schema": {
                "anyOf": [
                    {"$ref": "#/components/schemas/Row"},
                    {
                        "type": "array",
                        "items": {"$ref": "#/components/schemas/Row"},
                        "minItems": 1,
                        "maxItems": served.schema.max_rows,
                    },
                ]
            },
            "examples": {
                "one row": {"value": served.example},
                "several rows": {"value": [served.example, served.example]},
            },
        }
        predict["responses"]["200"] = _response("The predictions, in the order of the rows", "Answer")
    return described


def _response(description: str, schema: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
    }


def _answer(served: Served) -> dict[str, Any]:
    """Return the schema of an answer."""
    recipe = served.predictor.recipe
    target = Contract.model_validate(recipe.contract.model_dump()).columns[recipe.data.target]
    prediction: dict[str, Any] = {"prediction": {"type": JSON_TYPES.get(target.type, "string")}}
    if recipe.data.problem == "regression":
        prediction["prediction"] = {"type": "number"}
    elif (classes := getattr(served.predictor.pipeline, "classes_", None)) is not None:
        share = {"type": "number", "minimum": 0, "maximum": 1}
        names = [str(class_) for class_ in classes]
        prediction["prediction"]["enum"] = classes.tolist()
        prediction["probabilities"] = {
            "type": "object",
            "properties": dict.fromkeys(names, share),
            "required": names,
            "additionalProperties": False,
        }
    return {
        "type": "object",
        "required": ["model_version", "request_id", "predictions"],
        "properties": {
            "model_version": {"type": ["integer", "null"], "description": "null for a model from a folder"},
            "request_id": {"type": "string", "description": "under which the prediction log has this request"},
            "predictions": {
                "type": "array",
                "items": {"type": "object", "required": list(prediction), "properties": prediction},
            },
        },
    }
