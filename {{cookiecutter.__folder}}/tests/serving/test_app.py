"""The service answers like the champion, describes itself, and refuses what it must."""

import base64
import json
import re
import time

import polars as pl
import pytest
from conftest import COPY
from fastapi.testclient import TestClient

from penguin_model.ops.predictions import predict
from penguin_model.ops.settings import read_settings
from penguin_model.ops.tracking import registry
from penguin_model.serving.app import create_app

KEY = "correct-horse"
LOCAL = {"base_url": "http://127.0.0.1"}


def opened(**settings) -> TestClient:
    return TestClient(create_app(read_settings().model_copy(update=settings)), **LOCAL, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def client(trained):
    with opened(serve_poll_seconds=0.1, serve_max_rows=1000, serve_max_bytes=1_000_000) as client:
        end = time.monotonic() + 60
        while client.get("/health/ready").status_code != 200 and time.monotonic() < end:
            time.sleep(0.1)
        yield client


@pytest.fixture(scope="module")
def rows(trained) -> list[dict]:
    table = pl.read_parquet(COPY / "data/processed/table.parquet")
    return json.loads(table.write_json())


def test_answers_are_the_predictions_of_scoring(client, rows, champion):
    response = client.post("/predict", json=rows)
    answer = response.json()
    assert response.status_code == 200, answer
    assert answer["model_version"] == registry.champion().champion
    with registry.load(answer["model_version"]) as package, package.loaded() as predictor:
        expected = predict(predictor, pl.read_parquet(COPY / "data/processed/table.parquet"))
    assert [row["prediction"] for row in answer["predictions"]] == expected["prediction"].to_list()
    shares = [list(row.get("probabilities", {}).values()) for row in answer["predictions"]]
    expected_shares = expected.select(pl.exclude("prediction")).rows() or [()] * expected.height
    assert shares == [list(row) for row in expected_shares]
    single = client.post("/predict", json=rows[0]).json()["predictions"]
    assert single == answer["predictions"][:1]


def test_wrong_row_names_row_field_rule_and_value(client, rows):
    response = client.post("/predict", json=[rows[0], {"no such field": "\x1b[31m"}])
    faults = response.json()["detail"]
    assert response.status_code == 422
    assert {fault["row"] for fault in faults} == {1}
    assert {"required", "unknown field"} == {fault["rule"] for fault in faults}
    assert all(set(fault) == {"row", "field", "rule", "value", "message"} for fault in faults)


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"{}", "text/plain", 415),
        (b"{}", None, 415),
        (b"", "application/json", 422),
        (b"\xff\xfe", "application/json", 422),
        (b"[" * 10_000, "application/json", 422),
        (b'{"a": NaN}', "application/json; charset=utf-8", 422),
        (b"[" + b"1" * 1_000_001 + b"]", "application/json", 413),
        (b"[" + b",".join([b"{}"] * 1001) + b"]", "application/json", 422),
    ],
)
def test_wrong_body_is_refused(client, content, media_type, status):
    headers = {"content-type": media_type} if media_type else {}
    response = client.post("/predict", content=content, headers=headers)
    assert response.status_code == status
    assert response.json()["detail"]


def test_foreign_host_is_refused(client):
    assert client.get("/model", headers={"host": "attacker.example"}).status_code == 400


def test_description_has_the_fields_and_an_example_that_works(client):
    described = client.get("/openapi.json").json()
    body = described["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    assert list(described["components"]["schemas"]["Row"]["properties"])
    for example in body["examples"].values():
        assert client.post("/predict", json=example["value"]).status_code == 200
    page = client.get("/docs").text
    assert "http" not in page.replace("http-equiv", "")
    assert "dark-mode" in page
    for file in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert client.get(file).status_code == 200
    assert "html.dark-mode" in client.get("/static-offline-docs/swagger-ui.css").text


def test_metrics_count_requests_rows_and_batches(client, rows):
    client.get("/no/such/path")
    before = samples(client)
    client.post("/predict", json=rows[:3])
    after = samples(client)
    assert after['serving_requests_total{route="/predict",status="200"}'] == 1 + before.get(
        'serving_requests_total{route="/predict",status="200"}', 0
    )
    assert after["serving_rows_total"] == before["serving_rows_total"] + 3
    assert after["serving_model_version"] == registry.champion().champion
    assert not any("/no/such/path" in name for name in after)


def samples(client) -> dict[str, float]:
    lines = [line for line in client.get("/metrics").text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (None, 401),
        ("Bearer wrong", 401),
        ("Bearer ", 401),
        ("Basic !!!", 401),
        ("Basic schl\xfcssel".encode("latin-1"), 401),
        (f"Bearer {KEY}", 503),  # let in, but no model is loaded
        (f"bearer {KEY}", 503),
        ("Basic " + base64.b64encode(f"any:{KEY}".encode()).decode(), 503),
        ("Bearer schl\xfcssel".encode("latin-1"), 401),
    ],
)
def test_key_is_needed_everywhere_but_for_probes(authorization, status):
    client = opened(serve_api_key=KEY, serve_host="0.0.0.0")  # noqa: S104 - nothing listens
    headers = {"authorization": authorization} if authorization else {}
    response = client.get("/model", headers=headers)
    assert response.status_code == status
    assert KEY not in response.text
    assert client.get("/health/live").status_code == 200
    if status == 401:
        for path in ("/predict", "/metrics", "/docs", "/openapi.json"):
            assert client.get(path, headers=headers).status_code == 401


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("MLflow's database /srv/models/mlflow.db is damaged", "MLflow's database mlflow.db is damaged"),
        ("no files at file:///srv/models/7.", "no files at 7."),
        ("the server at http://10.0.0.1:5000/api/x is away", "the server at http://10.0.0.1:5000/api/x is away"),
        ("1/2 of the rows", "1/2 of the rows"),
    ],
)
def test_clients_see_no_folders(text, shown):
    from penguin_model.serving.routes import public

    assert public(text) == shown
