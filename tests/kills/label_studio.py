"""What stands where Label Studio would: its API over HTTP, in the test's own process.

It outlives what is killed around it. The real one is killed in tests/e2e.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]

PROJECT = 1


class StandIn:
    """One project, its tasks, and what Cytoloop told it."""

    def __init__(self, label_config: str) -> None:
        self.project: Json = {
            "id": PROJECT,
            "title": "killed",
            "label_config": label_config,
            "model_version": "",
        }
        self.tasks: dict[int, Json] = {}
        self._images: dict[str, bytes] = {}
        self._lock = threading.RLock()
        self._last_id = 0

    def add_task(self, png: bytes) -> int:
        with self._lock:
            id = self._next_id()
            address = f"/data/upload/{id}.png"
            self._images[address] = png
            at = _now()
            self.tasks[id] = {
                "id": id,
                "data": {"image": address},
                "created_at": at,
                "updated_at": at,
                "annotations": [],
                "predictions": [],
            }
            return id

    def annotate(self, task: int, regions: Sequence[Json]) -> Json:
        """Keep an annotation and return the event that tells of it."""
        with self._lock:
            at = _now()
            annotation = {
                "id": self._next_id(),
                "result": list(regions),
                "created_at": at,
                "updated_at": at,
                "was_cancelled": False,
            }
            self.tasks[task]["annotations"].append(annotation)
            self.tasks[task]["updated_at"] = at
            named = {**annotation, "task": task, "project": PROJECT}
            return {"action": "ANNOTATION_CREATED", "annotation": named, "project": self.project}

    def annotated(self) -> set[int]:
        with self._lock:
            return {id for id, task in self.tasks.items() if task["annotations"]}

    def open_tasks(self) -> list[Json]:
        with self._lock:
            return [task for task in self.tasks.values() if not task["annotations"]]

    @contextmanager
    def served(self) -> Iterator[str]:
        """Answer HTTP while the block runs; yields the address."""
        with ThreadingHTTPServer(("127.0.0.1", 0), _handler(self)) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()
                thread.join()

    def answer(self, method: str, path: str, query: dict[str, list[str]], sent: Json) -> Any:
        """Return what the API answers; None: there is no such thing."""
        with self._lock:
            if path in self._images:
                return self._images[path]
            if path == f"/api/projects/{PROJECT}/":
                return self._project(sent if method == "PATCH" else {})
            if path == "/api/tasks":
                return self._page(int(query["page"][0]), int(query["page_size"][0]), query)
            if found := re.fullmatch(r"/api/tasks/(\d+)/", path):
                return self.tasks.get(int(found[1]))
            if path == "/api/predictions/":
                return self._predict(sent)
            return None

    def _project(self, changed: Json) -> Json:
        self.project |= changed
        return {
            **self.project,
            "task_number": len(self.tasks),
            "total_annotations_number": sum(len(t["annotations"]) for t in self.tasks.values()),
            "skipped_annotations_number": 0,
        }

    def _page(self, page: int, size: int, query: dict[str, list[str]]) -> Json | None:
        (chosen,) = query.get("query", ["{}"])
        only = json.loads(chosen).get("selectedItems", {"included": self.tasks})["included"]
        listed = [task for id, task in self.tasks.items() if id in only]
        newest_first = sorted(listed, key=lambda t: t["updated_at"], reverse=True)
        shown = newest_first[(page - 1) * size : page * size]
        return {"tasks": shown, "total": len(listed)} if shown or page == 1 else None

    def _predict(self, sent: Json) -> Json:
        prediction = {**sent, "id": self._next_id()}
        self.tasks[sent["task"]]["predictions"].append(prediction)
        self.tasks[sent["task"]]["updated_at"] = _now()
        return prediction

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _handler(studio: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = urlsplit(self.path)
            found = studio.answer(
                self.command, asked.path, parse_qs(asked.query), json.loads(body or b"{}")
            )
            told = {"detail": "Not found."} if found is None else found
            sent = told if isinstance(told, bytes) else json.dumps(told).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = do_PATCH = answer

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except ConnectionError:  # who asked was killed
                self.close_connection = True

        def log_message(self, *args: object) -> None:
            pass

    return Handler
