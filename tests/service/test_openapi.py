"""What /openapi.json says and /docs shows."""

from pathlib import Path
from typing import Any

import pytest
from browser import browsing
from live_service import Running

from reads import wire
from service.answers import FORMS
from service.request import BODY_TYPES


@pytest.fixture(scope="module")
def document(running: Running) -> dict[str, Any]:
    with running.client() as client:
        found: dict[str, Any] = client.get("/openapi.json").json()
        return found


def test_every_type_of_body_and_answer_is_described_with_an_example(document: dict[str, Any]) -> None:
    operation = document["paths"]["/v1/basecall"]["post"]
    bodies, answers = operation["requestBody"]["content"], operation["responses"]["200"]["content"]
    assert set(bodies) == set(BODY_TYPES) and set(answers) == set(FORMS)
    inference = document["paths"]["/v2/models/{model}/infer"]["post"]
    others = [inference["requestBody"]["content"], inference["responses"]["200"]["content"]]
    for content in (bodies, answers, *others):
        assert all("example" in media or media["examples"] for media in content.values())


def test_every_status_is_described(document: dict[str, Any]) -> None:
    statuses = {"400", "401", "404", "406", "408", "413", "415", "422", "429", "500", "503", "504"}
    for path in ("/v1/basecall", "/v2/models/{model}/infer"):
        assert statuses < set(document["paths"][path]["post"]["responses"])


def test_files_are_described_by_the_command_that_sends_them(document: dict[str, Any]) -> None:
    bodies = document["paths"]["/v1/basecall"]["post"]["requestBody"]["content"]
    command = bodies[wire.HDF5]["examples"]["curl"]["summary"]
    assert command.startswith("curl --data-binary @reads.fast5 -H 'Content-Type: application/x-hdf5' http")


def test_every_path_that_is_served_is_described(document: dict[str, Any]) -> None:
    assert {"/v1/basecall", "/v1/models", "/healthz", "/readyz", "/metrics", "/v2"} < set(document["paths"])
    assert {"/v2/health/live", "/v2/health/ready", "/v2/models/{model}"} < set(document["paths"])


def test_nothing_is_described_that_is_never_answered(document: dict[str, Any]) -> None:
    assert "ValidationError" not in str(document)


def test_the_page_is_drawn_without_anything_from_elsewhere(
    running: Running, chromium: str, tmp_path: Path
) -> None:
    with browsing(chromium, tmp_path / "profile") as page:
        page.open(running.url + "/docs")
        page.wait_for("document.querySelectorAll('.opblock').length >= 12")
        loaded = page.evaluate("performance.getEntriesByType('resource').map(r => r.name).join(' ')")
        page.evaluate("document.querySelector('#operations-basecalling-basecall button').click()")
        page.wait_for("document.querySelector('#operations-basecalling-basecall').innerText.includes('pod5')")
        page.keep_screenshot(tmp_path / "docs.png")
    assert loaded and all(url.startswith(running.url) for url in loaded.split())
