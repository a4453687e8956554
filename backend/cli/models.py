"""`cytoloop models`: which versions there are, and which one serves a project."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backend.cli import choosing, console, worth
from backend.cli.console import say, tell, warn
from backend.cli.options import (
    LARGEST_NUMBER,
    AsJson,
    Home,
    ProjectId,
    services_from,
    settings_from,
)
from backend.errors import QueueError
from model.errors import VersionInUse, VersionNotFound
from model.wording import counted

if TYPE_CHECKING:  # too slow for --help
    from backend.services import Services
    from backend.store.projects import Project
    from model.keeping.registry import Registry
    from model.versions import ModelVersion

VersionId = Annotated[str, typer.Argument(help="Id of the version.")]
COLUMNS = ("version", "project", "classes", "AP50", "decision", "champion of")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    models = typer.Typer(help="List, show and choose versions.", no_args_is_help=True)
    models.command("list")(list_)
    for command in (show, promote, rollback, prune):
        models.command(command.__name__)(command)
    app.add_typer(models, name="models")


def list_(
    project: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=LARGEST_NUMBER,
            help="Only those of use to this project.",
            show_default="all",
        ),
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """List the versions, oldest first.

    AP50 is on held-out images, cells of any class.
    """
    settings = settings_from(home=home)
    registry, owner = settings.open_registry(), choosing.named_project(settings, project)
    versions = registry.list(str(owner.id) if owner else None)
    warn(str(error) for error in (*registry.broken(), *registry.broken_champions().values()))
    if as_json:
        typer.echo(json.dumps([version.to_json() for version in versions], indent=1))
    else:
        console.table(COLUMNS, [_row(version, registry) for version in versions])


def show(version_id: VersionId, as_json: AsJson = False, home: Home = None) -> None:
    """Show what is known of one version."""
    version = _registry(home).get(version_id)
    if as_json:
        typer.echo(json.dumps(version.to_json(), indent=1))
        return
    shown = {
        "id": version.id,
        "kind": version.kind,
        "project": version.project,
        "parent": version.parent,
        "classes": _classes(version),
        "created_at": version.created_at,
        "detector": version.detector and f"Faster R-CNN on {version.detector.backbone}",
        "notes": ", ".join(version.notes),
    }
    for name, value in shown.items():
        tell(f"{name:<11} {value or '–'}")
    tell(
        f"learned     {counted(len(version.lineage), 'image')} seen, itself and those it comes from"
    )
    if version.course:
        kept = ", the first layers kept as they were" if version.course.stem_kept else ""
        tell(f"trained     in {counted(version.course.steps, 'step')}{kept}")
    for reason in version.decision.reasons if version.decision else ():
        tell(f"gate        {reason}")
    if version.report:
        tell(*worth.report_text(version.report).split("\n"))


def promote(
    version_id: VersionId,
    project: ProjectId = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Promote without asking, whatever its classes.")
    ] = False,
    home: Home = None,
) -> None:
    """Make a version a project's champion, whatever the gate said."""
    services, owner = _project(home, project)
    if renamed := _renamed(services.registry.get(version_id), owner):
        say(renamed)
        if not yes:
            typer.confirm("Promote it all the same?", abort=True)
    _serve(services, owner, services.registry.promote(str(owner.id), version_id))


def rollback(project: ProjectId = None, home: Home = None) -> None:
    """Return to the champion before."""
    services, owner = _project(home, project)
    _serve(services, owner, services.registry.rollback(str(owner.id)))


def prune(
    version_ids: Annotated[
        list[str] | None,
        typer.Argument(help="Remove these alone.", show_default="those trained for projects"),
    ] = None,
    keep: Annotated[
        int,
        typer.Option(min=0, help="How many of each project's newest versions stay unless named."),
    ] = 5,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    home: Home = None,
) -> None:
    """Remove trained versions that never served.

    Present and former champions are kept, and so are versions from which kept ones were trained,
    and versions that an unfinished run uses. Versions made by `cytoloop train` are removed only if
    named.
    """
    from backend.learning.pruning import prunable

    services = services_from(home, to_read=True)
    named = {services.registry.get(id).id for id in version_ids or ()}
    versions = prunable(services, keep, named)
    warn(
        f"{id} not removed: a project, a run or a version that stays needs it"
        for id in sorted(named - {version.id for version in versions})
    )
    if not versions:
        stay = prunable(services, 0, named)
        which = f": --keep 0 removes {counted(len(stay), 'new version')} too" if stay else ""
        tell(f"There is nothing to remove{which}.")
        return
    console.table(COLUMNS, [_row(version, services.registry) for version in versions])
    if not yes:
        typer.confirm(f"Remove {counted(len(versions), 'version')} for good?", abort=True)
    # Checked again: meanwhile a version may have come to serve, or a run to need it.
    may_go = {version.id for version in prunable(services, keep, named)}
    warn(
        f"{v.id} not removed: it is of use by now, or gone" for v in versions if v.id not in may_go
    )
    _remove(services.registry, [version.id for version in versions if version.id in may_go])


def _remove(registry: Registry, ids: list[str]) -> None:
    """Remove versions, and print how many are gone, even if interrupted."""
    freed = []
    try:
        for id in ids:
            try:
                freed.append(registry.remove(id))
            except (VersionInUse, VersionNotFound) as error:
                warn([f"{id} not removed: {error}"])
    finally:
        told = f"Removed {counted(len(freed), 'version')}"
        tell(f"{told}: {sum(freed) / 2**20:.0f} MiB are free again.")


def _renamed(version: ModelVersion, owner: Project) -> str:
    """Say what becomes of a version's classes that a project lacks; empty if it has all."""
    others = [name for name in version.classes if name not in owner.classes]
    if not others:
        return ""
    all_of_them = len(others) == len(version.classes)
    boxes = "its boxes will all" if all_of_them else f"its boxes of {', '.join(others)} will"
    whose = f" for project {version.project}" if version.project else ""
    learned = f"{version.id} learned {', '.join(version.classes)}{whose}"
    return f"{learned}; {boxes} be called {owner.default_class} here."


def _serve(services: Services, owner: Project, version: ModelVersion) -> None:
    """Print that a version serves, and queue its boxes for the unlabelled tasks."""
    from backend.learning.showing import show_anew

    tell(f"{version.id} is the champion of project {owner.id} ({owner.title}).")
    try:
        # Its policy may never have been chosen, or under other choices of the project.
        is_calibrated = services.registry.policy(str(owner.id), version).is_calibrated
        if not (owner.least_work and is_calibrated):
            show_anew(services, owner.id, say)
        services.queue.enqueue_push(owner.id, version.id)
    except QueueError as error:
        say(f"The open tasks get its boxes later: {error}")


def _project(home: Any, wanted: int | None) -> tuple[Services, Project]:
    services = services_from(home)
    return services, choosing.choose_project(services.projects, wanted)


def _registry(home: Any) -> Registry:
    return settings_from(home=home).open_registry()


def _classes(version: ModelVersion) -> str:
    return ", ".join(version.classes) or "any"


def _row(version: ModelVersion, registry: Registry) -> tuple[str, ...]:
    decided = version.decision
    return (
        version.id,
        version.project or "any",
        _classes(version),
        worth.ap50_text(version.report),
        "–" if decided is None else "promoted" if decided.promoted else "refused",
        ", ".join(registry.champion_of(version.id)) or "–",
    )
