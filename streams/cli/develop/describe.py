"""`weir top` and `weir describe`: the last hour, and documents generated from the code."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from schemas.definitions.patterns import Workflow
from streams.cli.operate import top as live
from streams.cli.output import ROOT, AsJson, err
from streams.config import settings
from streams.definitions.folder import definition_in
from streams.docs import alerts, asyncapi, dashboards, dictionary, mermaid
from streams.docs import readme as drawn
from streams.engine.errors import UserError


def top(
    minutes: Annotated[int, typer.Option(min=1, max=60, help="How far back.")] = 60,
    by: Annotated[live.By, typer.Option(help="tenant, agent, model, or all.")] = "all",
    once: Annotated[bool, typer.Option("--once", help="Show it once and end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Shows the last hour, live: runs, tokens, cost, errors, delays. Approximate for a moment;
    exact in ClickHouse.
    """
    try:
        live.show(settings(), minutes, by, once, as_json)
    except live.LiveViewsUnavailableError as error:
        raise UserError(str(error)) from error


def describe(
    diagram: Annotated[bool, typer.Option("--diagram", help="The picture, as Mermaid.")] = False,
    overview: Annotated[
        bool, typer.Option("--overview", help="The same at a glance: one box a stage.")
    ] = False,
    topics: Annotated[bool, typer.Option("--topics", help="Every topic, as a table.")] = False,
    asyncapi_: Annotated[
        bool, typer.Option("--asyncapi", help="The contract, as AsyncAPI 3.0.")
    ] = False,
    settings_: Annotated[
        bool, typer.Option("--settings", help="Every setting and its default.")
    ] = False,
    dictionary_: Annotated[
        bool, typer.Option("--dictionary", help="Every table and column of ClickHouse.")
    ] = False,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Every number of /metrics, with its labels.")
    ] = False,
    agent: Annotated[
        bool, typer.Option("--agent", help="The states of an agent's session, as Mermaid.")
    ] = False,
    workflow: Annotated[
        Path | None, typer.Option("--workflow", help="The graph of an agent's file, as Mermaid.")
    ] = None,
    dashboards_: Annotated[
        bool,
        typer.Option(
            "--dashboards", help="Write Grafana's dashboards and Prometheus' alert rules anew."
        ),
    ] = False,
    readme: Annotated[
        bool, typer.Option("--readme", help="Write the generated blocks of all documents anew.")
    ] = False,
) -> None:
    """Prints what the code says of itself."""
    if readme:
        for path in drawn.documents(ROOT):
            drawn.rewrite_readme(path)
    for path in (*dashboards.write(), *alerts.write()) if dashboards_ else ():
        err.print(f"{path.relative_to(ROOT)} written")
    chosen = {
        drawn.mermaid: diagram,
        drawn.overview: overview,
        lambda: drawn.topics_table(settings()): topics,
        lambda: asyncapi.as_yaml(settings()): asyncapi_,
        drawn.settings_table: settings_,
        dictionary.as_markdown: dictionary_,
        drawn.metrics_table: metrics,
        mermaid.states: agent,
        lambda: mermaid.workflow(_workflow_in(workflow)): workflow is not None,
    }
    for made in (made for made, wanted in chosen.items() if wanted):
        sys.stdout.write(made() + "\n")
    if not any((*chosen.values(), dashboards_, readme)):
        raise UserError("choose an option, such as --diagram: see `./weir describe --help`")


def _workflow_in(path: Path | None) -> Workflow:
    """The workflow of an agent's file, checked by itself."""
    if path is None:
        raise UserError("name the file of an agent with `pattern: workflow`")
    agent = definition_in(path, "agent")
    if agent.workflow is None:
        raise UserError(
            f"{path} has no workflow, its pattern is {agent.pattern}: name an agent with "
            "`pattern: workflow`"
        )
    return agent.workflow
