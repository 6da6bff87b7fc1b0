"""Notifications by Slack, Teams and a plain webhook: their payloads follow the documented schemas. Slow."""

import json
import subprocess

import pytest
from jsonschema import Draft202012Validator
from running import Running
from template import CHOICES, Bake
from tiers import in_turn

pytestmark = pytest.mark.slow

# The blocks that are sent, after https://docs.slack.dev/reference/block-kit/blocks
PLAIN = {
    "type": "object",
    "required": ["type", "text"],
    "properties": {
        "type": {"const": "plain_text"},
        "text": {"type": "string", "minLength": 1, "maxLength": 2000},
    },
}
MARKDOWN = {
    "type": "object",
    "required": ["type", "text"],
    "additionalProperties": False,
    "properties": {
        "type": {"const": "mrkdwn"},
        # Text from people contains nothing that Slack reads as a mention or a link.
        "text": {
            "type": "string",
            "minLength": 1,
            "maxLength": 3000,
            "not": {"pattern": "<[!@#]|&(?!amp;|lt;|gt;)"},
        },
    },
}
HEADER = {"allOf": [PLAIN, {"properties": {"text": {"maxLength": 150}}}]}
SLACK = {
    "type": "object",
    "required": ["text", "blocks"],
    "additionalProperties": False,
    "properties": {
        "text": {"type": "string", "minLength": 1},
        "blocks": {
            "type": "array",
            "minItems": 1,
            "maxItems": 50,
            "items": {
                "oneOf": [
                    {
                        "required": ["type", "text"],
                        "additionalProperties": False,
                        "properties": {"type": {"const": "header"}, "text": HEADER},
                    },
                    {
                        "required": ["type"],
                        "anyOf": [{"required": ["text"]}, {"required": ["fields"]}],
                        "additionalProperties": False,
                        "properties": {
                            "type": {"const": "section"},
                            "text": {"oneOf": [PLAIN, MARKDOWN]},
                            "fields": {"type": "array", "minItems": 1, "maxItems": 10, "items": PLAIN},
                        },
                    },
                ]
            },
        },
    },
}
# The elements that are sent, after https://adaptivecards.io/explorer
TEXT = {"type": "string", "minLength": 1}
CARD = {
    "type": "object",
    "required": ["type", "version", "body"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"const": "http://adaptivecards.io/schemas/adaptive-card.json"},
        "type": {"const": "AdaptiveCard"},
        "version": {"enum": ["1.2", "1.3", "1.4"]},
        "body": {
            "type": "array",
            "minItems": 1,
            "items": {
                "oneOf": [
                    {
                        "required": ["type", "text"],
                        "additionalProperties": False,
                        "properties": {
                            "type": {"const": "TextBlock"},
                            "text": TEXT,
                            "wrap": {"type": "boolean"},
                            "size": {"enum": ["Default", "Small", "Medium", "Large", "ExtraLarge"]},
                            "weight": {"enum": ["Default", "Lighter", "Bolder"]},
                        },
                    },
                    {
                        "required": ["type", "facts"],
                        "additionalProperties": False,
                        "properties": {
                            "type": {"const": "FactSet"},
                            "facts": {
                                "type": "array",
                                "items": {
                                    "required": ["title", "value"],
                                    "additionalProperties": False,
                                    "properties": {"title": TEXT, "value": TEXT},
                                },
                            },
                        },
                    },
                ]
            },
        },
        "actions": {
            "type": "array",
            "items": {
                "required": ["type", "url"],
                "additionalProperties": False,
                "properties": {
                    "type": {"const": "Action.OpenUrl"},
                    "title": TEXT,
                    "url": {"type": "string", "pattern": "^https?://"},
                },
            },
        },
    },
}
TEAMS = {
    "type": "object",
    "required": ["type", "attachments"],
    "properties": {
        "type": {"const": "message"},
        "attachments": {
            "type": "array",
            "minItems": 1,
            "items": {
                "required": ["contentType", "content"],
                "properties": {
                    "contentType": {"const": "application/vnd.microsoft.card.adaptive"},
                    "contentUrl": {"type": "null"},
                    "content": CARD,
                },
            },
        },
    },
}
LONG = "\"'\\ <!channel> & *_`[x](y) \U0001f427 " * 400
PAYLOADS = """
import json, sys
from {package}.ops.notify import channel
from {package}.ops.notify.hooks import Message
long = sys.argv[1]
print(json.dumps([
    channel.payload(Message("failure", "training: Failed", time="2026-11-27T21:00:00+00:00")),
    channel.payload(Message(
        "drift", long, long, {{long: long, **{{str(i): "x" for i in range(40)}}}}, "https://example.org/1",
        metrics={{long[:200] + str(i): float("nan") for i in range(40)}}, time="2026-11-27T21:00:00+00:00",
    )),
]))
"""


CHANNELS = CHOICES["notifications"][1:]
each_channel = pytest.mark.parametrize("project", CHANNELS, indirect=True, scope="class")
# For what depends little on the channel.
one_channel = pytest.mark.parametrize("project", in_turn(*CHANNELS), indirect=True, scope="class")


class TestNotifications:
    """Projects that notify Slack, Teams or a program."""

    @pytest.fixture(scope="class")
    @classmethod
    def project(
        cls, request: pytest.FixtureRequest, bake: Bake, tmp_path_factory: pytest.TempPathFactory
    ) -> Running:
        """Set up a project for the channel."""
        made = bake(notifications=request.param)
        project = Running.copy_of(made, tmp_path_factory.mktemp("running"), "3.13")
        project.prepare()
        return project

    @one_channel
    def test_its_tests_pass(self, project: Running) -> None:
        assert " passed" in project.uv("run", "pytest", "-q", "tests/ops/test_notify.py")

    @each_channel
    def test_payload_follows_the_schema_of_the_channel(self, project: Running) -> None:
        file = project.path / "docs/notification.schema.json"
        module = (project.path / "src" / project.package / "ops/notify/channel.py").read_text(
            encoding="utf-8"
        )
        plain = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
        schema = Draft202012Validator(plain or (SLACK if "mrkdwn" in module else TEAMS))
        for payload in project.ask(PAYLOADS, LONG):
            assert [error.message for error in schema.iter_errors(payload)] == []
            assert len(json.dumps(payload).encode()) < 28_000

    @one_channel
    def test_failed_delivery_is_logged_once_without_the_url(self, project: Running) -> None:
        environment = project.env() | {"NOTIFY_WEBHOOK_URL": "http://127.0.0.1:9/secret"}
        verb = [str(project.environment / "bin" / project.path.name), "score"]
        done = subprocess.run(
            verb, cwd=project.path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        output = done.stdout + done.stderr
        assert output.count("A notification was not delivered: ConnectError") == 1
        assert "There is no champion yet" in output
        assert "secret" not in output
