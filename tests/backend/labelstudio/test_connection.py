"""What a server can do to us; that the calls are right is shown against a real Label Studio."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from backend.errors import LabelStudioError, LabelStudioMissing, LabelStudioSilent
from backend.labelstudio import connection
from backend.labelstudio.client import LabelStudio

LEGACY = "0123456789abcdef0123456789abcdef01234567"
PERSONAL = "header.payload.signature"


def test_a_legacy_token_is_sent_as_it_is(server: Any) -> None:
    server.answers["/data/a.png"] = b"pixels"

    assert LabelStudio(server.url, LEGACY).download("/data/a.png") == b"pixels"
    assert server.asked[0][2]["Authorization"] == f"Token {LEGACY}"


def test_a_personal_access_token_is_exchanged_once_for_many_calls(server: Any) -> None:
    server.answers |= {"/api/token/refresh/": {"access": "short"}, "/data/a.png": b"pixels"}
    client = LabelStudio(server.url, PERSONAL)

    for _ in range(3):
        client.download("/data/a.png")

    assert [path for _, path, _ in server.asked] == ["/api/token/refresh/"] + ["/data/a.png"] * 3
    assert server.asked[-1][2]["Authorization"] == "Bearer short"


def test_an_access_token_that_ended_early_is_renewed(server: Any) -> None:
    given = iter(["ended", "fresh"])
    server.answers["/api/token/refresh/"] = lambda _: (200, {"access": next(given)})
    server.answers["/data/a.png"] = lambda headers: (
        (200, {}) if headers["Authorization"] == "Bearer fresh" else (401, {"detail": "expired"})
    )

    assert LabelStudio(server.url, PERSONAL).download("/data/a.png") == b"{}"


@pytest.mark.parametrize("token", [LEGACY, PERSONAL])
def test_a_wrong_token_says_where_to_get_a_right_one(server: Any, token: str) -> None:
    def refuse(headers: object) -> tuple[int, Any]:
        return 401, {"detail": "Invalid token."}

    server.answers |= {"/api/version": refuse, "/api/token/refresh/": refuse}

    with pytest.raises(LabelStudioError, match=r"401 .*Invalid token.*Account & Settings"):
        LabelStudio(server.url, token).check()


def test_a_netrc_does_not_replace_the_token(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login lab password secret")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server.answers["/data/a.png"] = b"pixels"

    LabelStudio(server.url, LEGACY).download("/data/a.png")

    assert server.asked[0][2]["Authorization"] == f"Token {LEGACY}"


def test_a_proxy_of_the_environment_is_used(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)  # small letters come first, where both are set
    monkeypatch.setenv("no_proxy", "")
    server.answers["http://labels.example.org/data/a.png"] = b"pixels"

    studio = LabelStudio("http://labels.example.org", LEGACY)

    assert studio.download("/data/a.png") == b"pixels"


def test_a_label_studio_of_this_machine_is_asked_without_a_proxy(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    monkeypatch.setenv("no_proxy", "")
    server.answers["/data/a.png"] = b"pixels"
    assert LabelStudio(server.url, LEGACY).download("/data/a.png") == b"pixels"


def test_the_token_goes_to_the_configured_host_alone(server: Any) -> None:
    client = LabelStudio(server.url, LEGACY)

    for elsewhere in ("http://example.org/a.png", "//example.org/a.png", "file:///etc/passwd"):
        with pytest.raises(LabelStudioError, match="alone"):
            client.download(elsewhere)

    assert server.asked == []


def test_an_image_named_by_the_address_that_browsers_know_is_its_own(server: Any) -> None:
    server.answers["/data/local-files/"] = b"pixels"
    client = LabelStudio(server.url, LEGACY, browser_url="http://labels.example.org/")

    fetched = client.download("http://labels.example.org/data/local-files/?d=plate/a.png")

    assert fetched == b"pixels"
    with pytest.raises(LabelStudioError, match="CYTOLOOP_LABEL_STUDIO_BROWSER_URL"):
        client.download("http://labels.example.org.evil.org/data/a.png")


def test_a_label_studio_that_takes_too_long_is_not_called_away_and_not_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "READ_TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = LabelStudio(f"http://127.0.0.1:{silent.getsockname()[1]}", LEGACY)

        with pytest.raises(LabelStudioError, match=r"did not answer POST /api/tasks/ within"):
            client.create_task(7, {})
        with pytest.raises(LabelStudioError, match=r"did not answer GET /api/tasks/4/ within"):
            client.task(4)
        silent.settimeout(0)
        asked = [silent.accept()[0] for _ in range(2)]
        with pytest.raises(BlockingIOError):
            silent.accept()
        for each in asked:
            each.close()


def test_what_a_proxy_does_not_find_is_not_missing_in_label_studio(server: Any) -> None:
    server.answers["/api/projects/7/"] = lambda _: (404, {"detail": "Not found."})
    server.answers["/api/projects/8/"] = lambda _: (404, "404 page not found")
    client = LabelStudio(server.url, LEGACY)

    with pytest.raises(LabelStudioMissing, match="was the project or task deleted"):
        client.project(7)
    with pytest.raises(LabelStudioError, match="does it run behind the proxy") as caught:
        client.project(8)
    assert not isinstance(caught.value, LabelStudioMissing)


def test_a_redirect_away_is_not_followed(server: Any) -> None:
    server.answers["/data/a.png"] = lambda _: (302, {})

    with pytest.raises(LabelStudioError, match="redirected"):
        LabelStudio(server.url, LEGACY).download("/data/a.png")


def test_a_label_studio_under_a_path_is_asked_under_that_path(server: Any) -> None:
    server.answers["/lab/data/a.png"] = b"pixels"
    client = LabelStudio(f"{server.url}/lab/", LEGACY)

    fetched = [client.download(p) for p in ("/data/a.png", "/lab/data/a.png", "data/a.png")]

    assert fetched == [b"pixels"] * 3


def test_what_browsers_load_under_a_path_is_fetched_without_it_where_we_need_none(
    server: Any,
) -> None:
    server.answers["/data/upload/a.png"] = b"pixels"
    client = LabelStudio(server.url, LEGACY, browser_url="https://labels.example.org/lab")
    assert client.download("/lab/data/upload/a.png") == b"pixels"


def test_reading_is_tried_again_when_a_proxy_fails_and_writing_never(server: Any) -> None:
    failures = iter([503, 502, 200])
    server.answers["/api/projects/7/"] = lambda _: (next(failures), {"id": 7})
    server.answers["/api/tasks/"] = lambda _: (503, {})
    client = LabelStudio(server.url, LEGACY)

    assert client.project(7) == {"id": 7}
    with pytest.raises(LabelStudioError, match="503"):
        client.create_task(7, {"image": "/data/a.png"})

    assert [method for method, _, _ in server.asked] == ["GET", "GET", "GET", "POST"]


@pytest.mark.parametrize("answer", [b"<html>a router's page</html>", {"name": "Other"}, ["1.0"]])
@pytest.mark.parametrize(
    ("token", "path"),
    [
        (LEGACY, "/api/version"),
        (LEGACY, "/api/current-user/whoami"),
        (PERSONAL, "/api/token/refresh/"),
    ],
)
def test_what_is_no_label_studio_is_named(server: Any, token: str, path: str, answer: Any) -> None:
    server.answers |= {"/api/version": {"release": "1.23.2"}, path: answer}

    where = rf"{server.url}{path} did not answer as Label Studio does; is one there\?"
    with pytest.raises(LabelStudioError, match=where):
        LabelStudio(server.url, token).check()


def test_an_answer_that_was_broken_off_is_none(server: Any) -> None:
    server.answers["/api/projects/7/"] = b""
    with pytest.raises(LabelStudioError, match="broke off its answer to GET /api/projects/7/"):
        LabelStudio(server.url, LEGACY).project(7)


def test_a_label_studio_that_is_away_is_named_within_seconds() -> None:
    with pytest.raises(LabelStudioError, match="could not be reached"):
        LabelStudio("http://127.0.0.1:9", LEGACY).check()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500, 502, 503, 504])
def test_what_is_said_of_one_task_is_told_from_what_is_said_of_all(
    server: Any, status: int
) -> None:
    server.answers["/api/tasks/4/"] = lambda _: (status, "a page")
    with pytest.raises(LabelStudioError) as caught:
        LabelStudio(server.url, LEGACY).task(4)
    assert isinstance(caught.value, LabelStudioSilent) == (status in (401, 502, 503, 504))


@pytest.mark.parametrize(
    "odd",
    [[], {"id": 4}, {"id": "4", "annotations": []}, {"id": 4, "annotations": ["x"]}, "x", None],
)
def test_an_odd_answer_to_the_request_of_one_task_is_an_error_of_that_task(
    server: Any, odd: Any
) -> None:
    server.answers |= {"/api/tasks/4/": odd, "/api/predictions/": odd and {"ids": odd}}
    client, where = LabelStudio(server.url, LEGACY), "did not answer as Label Studio does"
    with pytest.raises(LabelStudioError, match=rf"/api/tasks/4/ {where}"):
        client.task(4)
    with pytest.raises(LabelStudioError, match=rf"/api/predictions/ {where}"):
        client.create_prediction(4, [], None, "v1+p")


def test_all_pages_of_tasks_come_through(server: Any) -> None:
    skipped = {"id": 3, "annotations": [{"was_cancelled": True}]}
    pages = iter([[{"id": 1, "annotations": []}], [{"id": 2, "annotations": [{}]}, skipped]])
    server.answers["/api/tasks"] = lambda _: (200, {"total": 3, "tasks": next(pages)})
    client = LabelStudio(server.url, LEGACY)

    assert [task["id"] for task in client.unlabelled_tasks(5)] == [1, 3]
    assert "page=2" in server.asked[1][1]


def test_a_task_is_looked_at_in_the_list_without_opening_it(server: Any) -> None:
    pages = iter([[{"id": id, "annotations": []} for id in ids] for ids in ([4], [], [3])])
    server.answers["/api/tasks"] = lambda _: (200, {"total": 1, "tasks": next(pages)})
    client = LabelStudio(server.url, LEGACY)

    assert client.listed_task(5, 4)["id"] == 4
    with pytest.raises(LabelStudioMissing, match="Project 5 has no task 4; was it deleted"):
        client.listed_task(5, 4)
    with pytest.raises(LabelStudioError, match="/api/tasks did not answer as Label Studio does"):
        client.listed_task(5, 4)
    for path in (asked[1] for asked in server.asked):
        query = parse_qs(urlsplit(path).query)
        assert (query["project"], query["fields"]) == (["5"], ["all"])
        assert json.loads(query["query"][0])["selectedItems"]["included"] == [4]


def test_all_pages_of_projects_come_through(server: Any) -> None:
    pages = iter([([{"id": 1}, {"id": 2}], "the next"), ([{"id": 3}], None)])

    def answer(_: object) -> tuple[int, Any]:
        projects, following = next(pages)
        return 200, {"results": projects, "next": following}

    server.answers["/api/projects/"] = answer

    assert [each["id"] for each in LabelStudio(server.url, LEGACY).projects()] == [1, 2, 3]
    assert "page=2" in server.asked[1][1]
