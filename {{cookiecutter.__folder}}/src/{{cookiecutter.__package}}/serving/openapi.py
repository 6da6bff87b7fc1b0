"""The description of the service for programs and for the page /docs, made from the model that answers."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from ..config import Contract
from .schema import Fault
from .served import Served

JSON_TYPES = {"integer": "integer", "float": "number", "boolean": "boolean"}
REFUSALS = {
    401: "The service has an API key, which is missing or wrong",
    413: "The body is too large",
    415: "The body is not JSON",
    503: "No model is loaded yet, or too many requests are waiting",
}


class Refusal(BaseModel):
    """Why a request is not answered."""

    detail: str


class Faults(BaseModel):
    """What is wrong with the rows of a request."""

    detail: list[Fault]


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe for a route the answers with these statuses."""
    return {status: {"description": REFUSALS[status], "model": Refusal} for status in statuses}


FAULTY: dict[int | str, dict[str, Any]] = {
    422: {"description": "A row breaks the contract; none is predicted", "model": Faults}
}


def describe(app: FastAPI, served: Served | None) -> dict[str, Any]:
    """Return the OpenAPI description; without a model yet, `/predict` is described without fields."""
    described = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    if app.state.service.settings.serve_api_key:
        described["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        described["security"] = [{"key": []}]
    predict = described["paths"]["/predict"]["post"]
    content: dict[str, Any] = {"schema": {"type": "object"}}
    predict["requestBody"] = {"required": True, "content": {"application/json": content}}
    if served:
        described["info"]["description"] = f"Predictions of {app.title} version {served.version}."
        described["components"]["schemas"] |= {"Row": served.schema.row, "Answer": _answer(served)}
        row, answer = ({"$ref": f"#/components/schemas/{name}"} for name in ("Row", "Answer"))
        rows = {"type": "array", "items": row, "minItems": 1, "maxItems": served.schema.max_rows}
        content["schema"] = {"anyOf": [row, rows]}
        examples = {"one row": served.example, "several rows": [served.example, served.example]}
        content["examples"] = {name: {"value": example} for name, example in examples.items()}
        predict["responses"]["200"] = {
            "description": "The predictions, in the order of the rows",
            "content": {"application/json": {"schema": answer}},
        }
    return described


def _answer(served: Served) -> dict[str, Any]:
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
