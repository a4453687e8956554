"""The calls that Cytoloop makes to Label Studio's API."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import count, takewhile
from typing import Any

from backend.errors import LabelStudioError, LabelStudioMissing, LabelStudioSilent
from backend.labelstudio.connection import Connection

#: Tasks on a page. Each comes with all predictions that it ever got: a hundred tasks of 300 cells
#: and 12 versions are 114 MB, for which Label Studio takes 10 seconds.
PAGE_SIZE = 20
#: How many tasks are asked for one by one before the whole list counts as failing.
GIVES_UP_AFTER = 10
NEWEST_FIRST = json.dumps({"ordering": ["-tasks:updated_at"]})
#: The actions for which Cytoloop's webhook is called.
WEBHOOK_ACTIONS = (
    "ANNOTATION_CREATED",
    "ANNOTATIONS_CREATED",
    "ANNOTATION_UPDATED",
    "ANNOTATIONS_DELETED",
    "PROJECT_UPDATED",
)
SECRET_HEADER = "X-Cytoloop-Secret"  # noqa: S105 - the name of a header

Json = dict[str, Any]
#: Called with why a task is not listed.
OnUnlisted = Callable[[LabelStudioError], object]


def project_page(url: str, project: int) -> str:
    """Return the address of a project's page for people."""
    return f"{url.rstrip('/')}/projects/{project}/data"


def is_labelled(task: Mapping[str, Any]) -> bool:
    """Tell whether somebody submitted an annotation for a task, other than to skip it."""
    return any(not one.get("was_cancelled") for one in task.get("annotations") or ())


class LabelStudio:
    """One Label Studio server, through its HTTP API.

    label-studio-sdk is not used: it weighs 391 MB and takes four CPU seconds to import.

    Parameters
    ----------
    url
        Its address.
    token
        A legacy or a personal access token; the kind is recognised.
    browser_url
        Its address for browsers, if that differs.
    """

    def __init__(self, url: str, token: str, browser_url: str = "") -> None:
        self.url = url.rstrip("/")
        self._http = Connection(url, token, browser_url)

    def check(self) -> Json:
        """Return its version and the token's user.

        Raises
        ------
        LabelStudioError
            It cannot be reached, the token is wrong, or it is no Label Studio.
        """
        version = self._told("/api/version", "release")
        return {"version": version, "user": self._told("/api/current-user/whoami", "email")}

    def _told(self, path: str, name: str) -> str:
        try:
            return str(self._http.json("GET", path)[name])
        except (KeyError, TypeError) as error:
            raise self._http.no_label_studio(path) from error

    def users(self) -> Iterator[Json]:
        """Yield the users that the token's user sees: ``id``, ``email`` and names."""
        yield from self._http.json("GET", "/api/users/")

    # Projects

    def create_project(self, title: str, label_config: str, **settings: Any) -> int:
        """Make a project and return its id; Label Studio wants titles of 3 to 50 characters."""
        title = title if len(title.strip()) >= 3 else f"Project {title}"
        title = title if len(title) <= 50 else f"{title[:49]}…"
        sent = {"title": title, "label_config": label_config, **settings}
        return self._make("/api/projects/", sent)

    def project(self, id: int) -> Json:
        return dict(self._http.json("GET", f"/api/projects/{id}/"))

    def projects(self) -> Iterator[Json]:
        """Yield every project that the token's user sees."""
        for page in count(1):
            asked = {"page": page, "page_size": PAGE_SIZE}
            answer = self._http.json("GET", "/api/projects/", params=asked)
            yield from answer["results"]
            if not answer["next"]:
                return

    def patch_project(self, id: int, **fields: Any) -> Json:
        """Change a project; ``model_version`` must name existing predictions."""
        return dict(self._http.json("PATCH", f"/api/projects/{id}/", json=fields))

    # Tasks

    def import_task(self, project: int, png: bytes, name: str, data: Json) -> int:
        """Upload a PNG, make the task that shows it, and return the task's id.

        The file is first uploaded without a task. So there is never a task without its ``data``
        (the raw file's sha256), even if this is interrupted.

        Parameters
        ----------
        data
            Added to ``task.data`` beside ``image``, the address of the upload.
        """
        uploaded = self._http.json(
            "POST",
            f"/api/projects/{project}/import",
            params={"commit_to_project": "false"},
            files={"file": (name, png, "image/png")},
        )
        upload = self._http.json("GET", f"/api/import/file-upload/{uploaded['file_upload_ids'][0]}")
        # As Label Studio writes it: browsers load it from the root of the host.
        image = f"{self._http.path_for_browsers}/data/{upload['file']}"
        return self.create_task(project, {"image": image, **data})

    def create_task(self, project: int, data: Json) -> int:
        sent = {"project": project, "data": data}
        return self._make("/api/tasks/", sent)

    def task(self, id: int) -> Json:
        """Open a task and return it with its ``annotations`` and ``predictions``.

        If it has no prediction, Label Studio first asks the project's ML backend for one.
        """
        path = f"/api/tasks/{id}/"
        answer = self._http.json("GET", path)
        if not _is_task(answer):
            raise self._http.no_label_studio(path)
        return dict(answer)

    def listed_task(self, project: int, id: int) -> Json:
        """Return a task as ``tasks`` does, without opening it.

        Raises
        ------
        LabelStudioMissing
            The project has no such task.
        """
        only = json.dumps({"selectedItems": {"all": False, "included": [id]}})
        tasks, _ = self._page(project, 1, 1, {"query": only, "fields": "all"})
        if not tasks:
            raise LabelStudioMissing(f"Project {project} has no task {id}; was it deleted?")
        if not _is_task(tasks[0]) or tasks[0]["id"] != id:
            raise self._http.no_label_studio("/api/tasks")
        return tasks[0]

    def tasks(self, project: int, on_unlisted: OnUnlisted | None = None) -> Iterator[Json]:
        """Yield the project's tasks, each with its ``annotations`` and ``predictions``.

        Parameters
        ----------
        on_unlisted
            Called for each task that Label Studio answers with an error; the others still come.
            None: the first such error is raised.
        """
        return self._pages(project, on_unlisted, fields="all")

    def newest_change(self, project: int) -> datetime | None:
        """Return when one of the project's tasks, its annotations or predictions last changed.

        Only tasks that can be listed are considered.
        """
        newest_first = self._one_by_one(project, 1, {"query": NEWEST_FIRST})
        newest = next(newest_first, None)
        return _moment(newest["updated_at"]) if newest else None

    def changed_tasks(
        self, project: int, since: datetime, on_unlisted: OnUnlisted | None = None
    ) -> Iterator[Json]:
        """Yield the tasks changed at or after a moment, newest first; otherwise as ``tasks``."""
        listed = self._pages(project, on_unlisted, query=NEWEST_FIRST, fields="all")
        return takewhile(lambda task: _moment(task["updated_at"]) >= since, listed)

    def unlabelled_tasks(
        self, project: int, on_unlisted: OnUnlisted | None = None
    ) -> Iterator[Json]:
        """Yield the tasks for which nobody has submitted an annotation; otherwise as ``tasks``."""
        for task in self.tasks(project, on_unlisted):
            if not is_labelled(task):
                yield task

    def _pages(self, project: int, on_unlisted: OnUnlisted | None, **query: str) -> Iterator[Json]:
        """Yield the tasks of all pages; for a page after the last Label Studio answers an error."""
        seen = 0
        for page in count(1):
            try:
                tasks, total = self._page(project, page, PAGE_SIZE, query)
            except LabelStudioMissing:
                if page == 1:
                    raise
                return  # tasks were deleted meanwhile, and with them this page
            except LabelStudioError as error:
                if on_unlisted is None or isinstance(error, LabelStudioSilent):
                    raise
                yield from self._one_by_one(project, page, query, on_unlisted)
                seen += PAGE_SIZE
                continue
            yield from tasks
            seen += len(tasks)
            if not tasks or seen >= total:
                return

    def _one_by_one(
        self,
        project: int,
        page: int,
        query: Mapping[str, str],
        on_unlisted: OnUnlisted = lambda error: None,
    ) -> Iterator[Json]:
        """Yield the tasks of a page that can be listed alone; if none can, raise the error.

        Gives up after the first ``GIVES_UP_AFTER`` if all of these fail.
        """
        listed, failed, last = 0, 0, page * PAGE_SIZE
        for place in range(last - PAGE_SIZE + 1, last + 1):
            try:
                tasks, _ = self._page(project, place, 1, query)
            except LabelStudioMissing:
                if place == 1:
                    raise
                break  # the task before was the last
            except LabelStudioError as error:
                failed += 1
                in_vain = failed == GIVES_UP_AFTER and not listed
                if in_vain or isinstance(error, LabelStudioSilent):
                    raise
                on_unlisted(error)  # at once: a caller that has seen enough reads no further
            else:
                listed += len(tasks)
                yield from tasks

    def _page(
        self, project: int, page: int, page_size: int, query: Mapping[str, str]
    ) -> tuple[list[Json], int]:
        """Return the tasks of one page, and the number of tasks on all pages."""
        asked = {"project": project, "page": page, "page_size": page_size, **query}
        answer = self._http.json("GET", "/api/tasks", params=asked)
        return list(answer["tasks"]), int(answer["total"])

    def create_annotation(
        self,
        task: int,
        regions: Sequence[Json],
        lead_time: float | None = None,
        parent_prediction: int | None = None,
    ) -> int:
        """Submit an annotation; ``parent_prediction`` is what it began with."""
        sent = {
            "result": list(regions),
            "lead_time": lead_time,
            "parent_prediction": parent_prediction,
        }
        return self._make(f"/api/tasks/{task}/annotations/", sent)

    def create_prediction(
        self, task: int, regions: Sequence[Json], score: float | None, model_version: str
    ) -> int:
        sent = {
            "task": task,
            "result": list(regions),
            "score": score,
            "model_version": model_version,
        }
        return self._make("/api/predictions/", sent)

    def delete_prediction(self, id: int) -> None:
        self._http.request("DELETE", f"/api/predictions/{id}/")

    def download(self, path: str) -> bytes:
        """Return the bytes of a file that a task names, only from the configured Label Studio.

        Parameters
        ----------
        path
            As in ``task.data``: an upload, a local file, or a whole address on the same host.

        Raises
        ------
        LabelStudioError
            The file is on another host or missing, or the server cannot be reached.
        """
        return self._http.request("GET", path).content

    # The connection back to Cytoloop

    def backends(self, project: int) -> list[Json]:
        """Return the ML backends that a project has."""
        return list(self._http.json("GET", "/api/ml", params={"project": project}))

    def webhooks(self, project: int) -> list[Json]:
        """Return the webhooks that a project has."""
        return list(self._http.json("GET", "/api/webhooks/", params={"project": project}))

    def connect_backend(self, project: int, url: str, user: str, password: str, title: str) -> int:
        """Make Cytoloop the project's ML backend, or update the existing one.

        The title identifies it, since its address may have changed.
        """
        sent = {
            "project": project,
            "url": url,
            "title": title,
            "auth_method": "BASIC_AUTH",
            "basic_auth_user": user,
            "basic_auth_pass": password,
            "is_interactive": False,
        }
        for backend in self.backends(project):
            if backend["title"] == title or backend["url"].rstrip("/") == url.rstrip("/"):
                self._http.json("PATCH", f"/api/ml/{backend['id']}", json=sent)
                return int(backend["id"])
        return self._make("/api/ml", sent)

    def secure_webhooks(self, project: int, url: str, secret: str) -> int:
        """Leave one webhook to ``url``, with the secret and ``WEBHOOK_ACTIONS``; return its id.

        Connecting a backend makes a webhook for all actions, without the header. A webhook with the
        header but another address is ours, from when Cytoloop listened elsewhere.
        """
        sent = {
            "project": project,
            "url": url,
            "headers": {SECRET_HEADER: secret},
            "actions": list(WEBHOOK_ACTIONS),
            "send_for_all_actions": False,
            "send_payload": True,
            "is_active": True,
        }
        ours = [
            hook["id"]
            for hook in self.webhooks(project)
            if hook["url"].rstrip("/") == url.rstrip("/") or SECRET_HEADER in hook["headers"]
        ]
        for spare in ours[1:]:
            self._http.request("DELETE", f"/api/webhooks/{spare}/")
        if not ours:
            return self._make("/api/webhooks/", sent)
        self._http.json("PATCH", f"/api/webhooks/{ours[0]}/", json=sent)
        return int(ours[0])

    def _make(self, path: str, sent: Json) -> int:
        """Make something and return its id."""
        answer = self._http.json("POST", path, json=sent)
        try:
            return int(answer["id"])
        except (KeyError, TypeError, ValueError) as error:
            raise self._http.no_label_studio(path) from error


def _is_task(answer: Any) -> bool:
    if not isinstance(answer, dict) or type(answer.get("id")) is not int:
        return False
    listed = answer.get("annotations"), answer.get("predictions") or []
    return all(isinstance(of, list) and all(isinstance(one, dict) for one in of) for of in listed)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
