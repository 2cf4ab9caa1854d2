"""Generated blocks of the documents: diagrams, topics, settings and commands.

README.md holds the same between `<!-- weir describe --diagram -->` and `<!-- end -->`; a test
compares the two.
"""

import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from schemas.events.base import Event
from schemas.events.operations import DeadLettered
from schemas.wire.topics import Topic, topics
from streams.config import Settings
from streams.docs.commands import COMMANDS
from streams.engine.monitoring import metric_names
from streams.engine.shapes import Call, Each, Fold, Kinds, Step, Window, calls, kinds, stages
from streams.engine.sinks.retention import usual_archive_days
from streams.topology import FROM_SERVICES, PIPELINE, SINKS

Pipeline = tuple[Step, ...]
Sinks = dict[str, Kinds]
Edge = tuple[str, str]

OUTSIDE = "services"
ANYWHERE = "anywhere"
OPEN = r"<!-- weir describe --(\w+) -->"
CLOSE = "<!-- end -->"
SHAPES = {Each: ("[", "]"), Fold: ("[[", "]]"), Window: ("[/", "/]"), Call: ("{{", "}}")}
LEGEND = (
    "Thick arrows cross Kafka, thin ones stay in memory, dotted ones only watch. Double-sided "
    "boxes keep a state "
    "for each key, slanted ones add up a window, hexagons call the world outside."
)
NAMED = 3
WRAPPED = 34
"""At a glance: event names on an arrow, characters in a line of a box."""
WATCHED_LEAST = 4
"""A step that hears this many others and tells nobody but sinks is a watcher: its edges carry no
names.
"""


def writers(pipeline: Pipeline = PIPELINE) -> dict[type[Event], list[str]]:
    """Who writes each event class: other services, steps, the runtime for what it makes itself."""
    found: dict[type[Event], list[str]] = {kind: [OUTSIDE] for kind in kinds(FROM_SERVICES)}
    for step in pipeline:
        for kind in kinds(step.writes):
            found.setdefault(kind, []).append(step.name)
        if isinstance(step.by, Fold) and step.by.wakes:
            found.setdefault(step.by.wakes, []).append(f"{step.name} (timer)")
    for step, hints in _hints(pipeline):
        found.setdefault(hints, []).append(step.name)
    found.setdefault(DeadLettered, []).append("any worker")
    return found


def _hints(pipeline: Pipeline) -> list[tuple[Step, type[Event]]]:
    """The steps that send hints while a request is under way, and which."""
    calls = ((step, step.by) for step in pipeline if isinstance(step.by, Call))
    return [(step, call.hints) for step, call in calls if call.hints]


def readers(pipeline: Pipeline = PIPELINE, sinks: Sinks = SINKS) -> dict[type[Event], list[str]]:
    """Who reads each event class: steps, then sinks."""
    found: dict[type[Event], list[str]] = {}
    reading = [(step.name, step.reads) for step in pipeline] + list(sinks.items())
    for name, reads in reading:
        for kind in kinds(reads):
            found.setdefault(kind, []).append(name)
    return found


def mermaid(pipeline: Pipeline = PIPELINE, sinks: Sinks = SINKS) -> str:
    """The pipeline as a Mermaid flowchart: thick arrows cross Kafka, thin ones stay in memory."""
    lines = [
        "flowchart LR",
        f"  {OUTSIDE}([your services])",
        f"  {ANYWHERE}([records that no step can take])",
    ]
    for key, steps in stages(pipeline).items():
        lines += [
            f"  subgraph stage_{key}[stage: {key}]",
            *(f"    {_node(step)}" for step in steps),
            "  end",
        ]
    lines += [f"  {_node(step)}" for step in calls(pipeline)]
    lines += [f"  {name}[({name})]" for name in sinks]
    watchers = _watchers(pipeline)
    for (source, target), names in _edges(pipeline, sinks).items():
        if target in watchers and not _fused(source, target, pipeline):
            # drawn already: what comes from elsewhere enters the stage by a step that acts on it
            continue
        label = "" if target in watchers else f"|{'<br/>'.join(names)}|"
        arrow = (
            "-.->" if target in watchers else "-->" if _fused(source, target, pipeline) else "==>"
        )
        lines.append(f"  {source} {arrow}{label} {target}")
    lines += [f"  {step.name} ==>|{hints.__name__}| {OUTSIDE}" for step, hints in _hints(pipeline)]
    return "\n".join(lines)


def overview(pipeline: Pipeline = PIPELINE, sinks: Sinks = SINKS) -> str:
    """The same at a glance: a stage is one box that names its steps, and all that goes from one box
    to another is one arrow.
    """
    box_of = {
        step.name: f"stage_{key}" for key, steps in stages(pipeline).items() for step in steps
    }
    arrows: dict[Edge, list[str]] = {}
    for (source, target), names in _edges(pipeline, sinks).items():
        ends = box_of.get(source, source), box_of.get(target, target)
        told = arrows.setdefault(ends, [])
        told += [name for name in names if name not in told]
    for step, hints in _hints(pipeline):
        ends = box_of.get(step.name, step.name), OUTSIDE
        arrows.setdefault(ends, []).append(hints.__name__)
    lines = [
        "flowchart LR",
        f"  {OUTSIDE}([your services])",
        f"  {ANYWHERE}([records that no step can take])",
    ]
    for key, steps in stages(pipeline).items():
        named = ", ".join(step.name.replace("_", " ") for step in steps)
        lines.append(
            f'  stage_{key}["<b>stage: '
            f'{key}</b><br/>{"<br/>".join(textwrap.wrap(named, WRAPPED))}"]'
        )
    lines += [f"  {_node(step)}" for step in calls(pipeline)]
    lines += [f"  {name}[({name})]" for name in sinks]
    return "\n".join(
        [
            *lines,
            *(
                f"  {source} -->|{_few(names)}| {target}"
                for (source, target), names in arrows.items()
                if source != target
            ),
        ]
    )


def _few(names: list[str]) -> str:
    shown = (
        names
        if len(names) <= NAMED
        else [*names[: NAMED - 1], f"and {len(names) - NAMED + 1} more"]
    )
    return "<br/>".join(shown)


def _node(step: Step) -> str:
    left, right = SHAPES[type(step.by)]
    return f"{step.name}{left}{step.name.replace('_', ' ')}{right}"


def _edges(pipeline: Pipeline, sinks: Sinks) -> dict[Edge, list[str]]:
    """Event names by edge. To a sink one edge a stage: what lands there is the stage's story, not a
    step's.
    """
    stage_of = {
        step.name: f"stage_{key}" for key, steps in stages(pipeline).items() for step in steps
    }
    wrote = writers(pipeline)
    edges = {}
    targets = [(step.name, step.reads) for step in pipeline] + list(sinks.items())
    for target, reads in targets:
        for kind in kinds(reads):
            made_by = [name for name in wrote.get(kind, []) if not name.endswith("(timer)")]
            for source in made_by:
                source = ANYWHERE if kind is DeadLettered else source
                source = stage_of.get(source, source) if target in sinks else source
                names = edges.setdefault((source, target), [])
                names.extend([kind.__name__] if kind.__name__ not in names else [])
    return edges


def _watchers(pipeline: Pipeline) -> set[str]:
    wrote = writers(pipeline)
    heard = {kind for step in pipeline for kind in kinds(step.reads)}
    return {
        step.name
        for step in pipeline
        if not heard & {*kinds(step.writes)}
        and len({name for kind in kinds(step.reads) for name in wrote.get(kind, ())})
        >= WATCHED_LEAST
    }


def _fused(source: str, target: str, pipeline: Pipeline) -> bool:
    return any(
        {source, target} <= {step.name for step in steps} for steps in stages(pipeline).values()
    )


def topics_rows(settings: Settings) -> list[dict[str, Any]]:
    """A row a topic: everything an operator asks of it."""
    wrote = writers()
    read = readers()
    return [
        {
            "topic": topic.name,
            "events": ", ".join(kind.__name__ for kind in topic.events),
            "key": topic.key,
            "partitions": topic.partitions,
            "retention": "for ever" if topic.retention is None else f"{topic.retention.days} days",
            "archived": _archived(topic),
            "cleanup": topic.config()["cleanup.policy"],
            "owner": topic.owner,
            "personal data": "yes" if topic.personal else "no",
            "written by": _names(wrote, topic, OUTSIDE),
            "read by": _names(read, topic, "every worker" if topic.compacted else "consumers"),
        }
        for topic in topics(settings.partitions).values()
    ]


def _names(by_class: dict[type[Event], list[str]], topic: Topic, otherwise: str) -> str:
    """Who is named for any class of a topic, each once."""
    found = dict.fromkeys(name for kind in topic.events for name in by_class.get(kind, ()))
    return ", ".join(found) or otherwise


def _archived(topic: Topic) -> str:
    """How long the archive keeps the classes of a topic where their tenant says nothing."""
    days = sorted({usual_archive_days(kind) for kind in topic.events})
    return " or ".join(f"{each} days" if each else "no" for each in days)


def topics_table(settings: Settings | None = None) -> str:
    return markdown(topics_rows(settings or _defaults()))


def metrics_table() -> str:
    """Every number that the workers show, its labels, what it means."""
    return markdown(metric_names.table())


def settings_table() -> str:
    """Every setting: its environment variable, its default, what it means."""
    return markdown(
        [
            {
                "variable": f"`WEIR_{name.upper()}`",
                "default": _default(info),
                "meaning": info.description,
            }
            for name, info in Settings.model_fields.items()
        ]
    )


def _default(info: FieldInfo) -> str:
    value = info.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "must be set"
    shown = value.get_secret_value() if isinstance(value, SecretStr) else value
    return "" if shown in ("", {}) else f"`{shown}`"


def _defaults() -> Settings:
    """The settings as they are documented, whatever this process' environment says."""
    return Settings.model_construct()


def commands() -> str:
    """Every command and what it is for."""
    return markdown(
        [
            {"command": f"`./weir {name}`", "what it does": words}
            for name, (_, words) in COMMANDS.items()
        ]
    )


def markdown(rows: list[dict[str, Any]]) -> str:
    """Rows as a Markdown table; a bar in a cell is escaped."""
    names = list(rows[0])
    body = [[str(row[name]).replace("|", "\\|") for name in names] for row in rows]
    lines = [names, ["---"] * len(names), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


BLOCKS: dict[str, Callable[[], str]] = {
    "diagram": lambda: f"```mermaid\n{mermaid()}\n```\n\n{LEGEND}",
    "overview": lambda: f"```mermaid\n{overview()}\n```",
    "topics": topics_table,
    "settings": settings_table,
    "commands": commands,
}


def readme_blocks(text: str) -> str:
    """The text with every block between its marker and `<!-- end -->` made anew. Raises ValueError
    with a sentence where a marker names no block or has no end.
    """

    def fill(found: re.Match[str]) -> str:
        if found[1] not in BLOCKS:
            raise ValueError(
                f"there is no `weir describe --{found[1]}`: use one of {', '.join(BLOCKS)}"
            )
        return f"<!-- weir describe --{found[1]} -->\n{BLOCKS[found[1]]()}\n{CLOSE}"

    filled, count = re.subn(
        OPEN + r"\n(?:(?!<!-- weir describe).)*?" + CLOSE, fill, text, flags=re.S
    )
    if count != len(re.findall(OPEN, text)):
        raise ValueError(
            f"a `weir describe` marker has no `{CLOSE}` after it: add one where its block ends"
        )
    return filled


def documents(root: Path) -> list[Path]:
    """Every document of the project: the README, one of each folder, and the handbook."""
    folders = ("infra", "processors", "schemas", "sinks", "streams", "tests")
    found = (path for folder in folders for path in (root / folder).rglob("*.md"))
    return [root / "README.md", *sorted(found)]


def rewrite_readme(path: Path) -> bool:
    """`weir describe --readme`: fills the file's blocks. Returns whether it changed."""
    before = path.read_text()
    after = readme_blocks(before)
    if after != before:
        path.write_text(after)
    return after != before
