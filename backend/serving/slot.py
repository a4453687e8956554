"""Holds the version that serves each project; swaps in a new champion while requests go on."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field

import structlog

from backend.serving.errors import NotReady
from model.classical.detector import CLASSICAL_ID, classical_version
from model.errors import ModelError
from model.judging.policy import Policy
from model.keeping.registry import Registry
from model.looking.loaded import LoadedVersion

log = structlog.get_logger(__name__)

#: How long an answer may wait for the very first load of its project. The load begins when the web
#: process starts, or at /setup, before /predict is asked. A task that is answered with nothing is
#: asked for again; a page that waits too long is not.
FIRST_LOAD_S = 2.0
#: Seconds after a failed load until the champion is tried again; the version before serves.
RETRY_S = 60.0

Stamp = tuple[int, ...]


@dataclass(frozen=True)
class Served:
    """What answers a request from its first line to its last: one object, never changed.

    Parameters
    ----------
    loaded
        Description, contrast groups and detector.
    name
        The name that predictions are signed with: version and policy.
    """

    loaded: LoadedVersion
    policy: Policy
    name: str

    @classmethod
    def of(cls, loaded: LoadedVersion, policy: Policy | None = None) -> Served:
        policy = policy or Policy.of(loaded.version)
        sized = loaded.with_cell_diameter(policy.cell_diameter_px)
        return cls(sized, policy, policy.served_name(loaded.version))


@dataclass(frozen=True)
class _Serving:
    """What serves a project, and the champion pointer for which it was loaded."""

    served: Served
    stamp: Stamp
    problem: str = ""
    since: float = field(default_factory=time.monotonic)

    def fits(self, stamp: Stamp) -> bool:
        waiting = self.problem and time.monotonic() - self.since < RETRY_S
        return self.stamp == stamp and (not self.problem or bool(waiting))


class Slot:
    """A few loaded versions, one for each project recently asked for.

    Parameters
    ----------
    device
        ``auto``, ``cpu`` or ``cuda``.
    capacity
        Number of projects kept loaded; the one asked for least recently gives way.
    """

    def __init__(self, registry: Registry, device: str = "auto", capacity: int = 4) -> None:
        self.capacity = capacity
        self._registry = registry
        self._device = device
        self._lock = threading.Lock()
        self._serving: OrderedDict[str, _Serving] = OrderedDict()
        self._loading: dict[str, Future[None]] = {}
        # One thread: two loads at once would need twice the memory and share the same disk. The
        # first version served by PyTorch imports torch; mapping its libraries stops all threads for
        # up to 0.4 s at a time. Later loads let requests through.
        self._loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="load")

    def current(self, project: str, wait_s: float = FIRST_LOAD_S) -> Served:
        """Return what serves a project; a new champion loads in the background meanwhile.

        Raises
        ------
        NotReady
            This is the first request for the project and the load takes longer than ``wait_s``, or
            the loaded version was replaced already.
        """
        serving, loading = self._look(project)
        if serving is None and loading is not None:
            try:
                loading.result(timeout=wait_s)
            except FutureTimeout as error:
                raise NotReady("the champion is still being loaded; ask again") from error
            with self._lock:
                serving = self._serving.get(project)
        if serving is None:
            raise NotReady("the version was replaced while it was being loaded; ask again")
        return serving.served

    def name(self, project: str) -> str:
        """Return at once the name that :meth:`current` signs with; begin a load if needed."""
        self._look(project)
        return self.peek(project)

    def peek(self, project: str) -> str:
        """Return the same name for onlookers, who are no reason to load another project."""
        stamp = self._registry.champion_stamp(project)
        with self._lock:
            serving = self._serving.get(project)
            if serving is not None and not serving.fits(stamp):
                self._begin(project, stamp)
        if serving is not None:
            return serving.served.name
        try:
            return self._registry.served_name(project)
        except ModelError:  # the load will report it, and the classical version will serve
            version = classical_version()
            return Policy.of(version).served_name(version)

    def problem(self, project: str) -> str:
        """Return why the champion does not serve; empty if it does."""
        with self._lock:
            serving = self._serving.get(project)
        return serving.problem if serving else ""

    def loaded_names(self) -> dict[str, str]:
        """Return the served name of each loaded project."""
        with self._lock:
            return {project: s.served.name for project, s in self._serving.items()}

    def close(self) -> None:
        """Stop loading; holders of a loaded version may go on using it."""
        self._loader.shutdown(wait=True, cancel_futures=True)

    def _look(self, project: str) -> tuple[_Serving | None, Future[None] | None]:
        stamp = self._registry.champion_stamp(project)
        with self._lock:
            serving = self._serving.get(project)
            if serving is not None:
                self._serving.move_to_end(project)
            if serving is None or not serving.fits(stamp):
                self._begin(project, stamp)
            return serving, self._loading.get(project)

    def _begin(self, project: str, stamp: Stamp) -> None:
        if project not in self._loading:
            # The stamp is older than what _load reads: a promotion in between may be loaded twice,
            # but is never missed.
            self._loading[project] = self._loader.submit(self._load, project, stamp)

    def _load(self, project: str, stamp: Stamp) -> None:
        try:
            serving = self._serving_for(project, stamp)
            with self._lock:
                self._serving[project] = serving
                self._serving.move_to_end(project)
                while len(self._serving) > self.capacity:
                    self._serving.popitem(last=False)
        finally:
            with self._lock:
                del self._loading[project]
        log.info("version.serving", project=project, version=serving.served.name)

    def _serving_for(self, project: str, stamp: Stamp) -> _Serving:
        try:
            return _Serving(self._champion(project), stamp)
        except Exception as error:  # outermost: whatever is wrong, something must serve
            log.exception("version.load_failed", project=project)
            with self._lock:
                before = self._serving.get(project)
            served = before.served if before else Served.of(self._registry.load(CLASSICAL_ID))
            return _Serving(served, stamp, problem=f"{type(error).__name__}: {error}")

    def _champion(self, project: str) -> Served:
        version = self._registry.champion(project)
        policy = self._registry.policy(project, version)
        with self._lock:
            kept = [s.served.loaded for s in self._serving.values()]
        same = next((loaded for loaded in kept if loaded.version.id == version.id), None)
        return Served.of(same or self._registry.load(version.id, self._device), policy)
