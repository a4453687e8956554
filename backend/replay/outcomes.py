"""What served after each run of a replay, which may only be served some images later."""

from __future__ import annotations

import json
from dataclasses import dataclass

from backend.services import Services
from model.atomic import write_json
from model.judging.policy import Policy


@dataclass(frozen=True)
class Outcome:
    """What a run left to serve: a version's id, and its policy."""

    version: str
    policy: Policy


class Outcomes:
    """What served a project after each of its runs, in a file that outlives this process.

    The registry only knows what serves now.
    """

    def __init__(self, services: Services, project: int) -> None:
        self._services = services
        self._project = project
        self._path = services.settings.home / "outcomes.json"
        self._known = self._read()
        self.keep()

    def keep(self) -> None:
        """Keep what serves now as the outcome of the newest ended run."""
        ended = [run for run in self._services.runs.all(self._project) if not run.is_active]
        corrected = max((run.corrected or run.milestone for run in ended), default=0)
        if corrected in self._known:  # a run that was cut off may be changing it
            return
        registry, key = self._services.registry, str(self._project)
        champion = registry.champion(key)
        self._known[corrected] = Outcome(champion.id, registry.policy(key, champion))
        kept = {
            str(number): {"version": outcome.version, "policy": outcome.policy.to_json()}
            for number, outcome in self._known.items()
        }
        write_json(self._path, kept)

    def at(self, corrected: int) -> Outcome:
        """Return the outcome of the newest run that froze at up to this many corrected images."""
        begun = [number for number in self._known if number <= corrected]
        return self._known[max(begun, default=min(self._known))]

    def _read(self) -> dict[int, Outcome]:
        if not self._path.exists():
            return {}
        kept = json.loads(self._path.read_text("utf-8"))
        return {
            int(number): Outcome(each["version"], Policy.from_json(each["policy"]))
            for number, each in kept.items()
        }
