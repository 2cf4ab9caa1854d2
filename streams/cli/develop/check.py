"""`weir check`: checks a folder of definitions, or recorded runs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from processors.prompts import render
from schemas.definitions.base import Definition
from schemas.definitions.kinds import Agent, Definitions
from schemas.definitions.prompts import Prompt, PromptUse
from streams.cli.output import ROOT, AsJson, err, out, say_json, short, table
from streams.config import settings
from streams.definitions.folder import FOLDERS, Company, load
from streams.engine.errors import UserError
from streams.lab.replay.recorded_runs import differences

HISTORIES = ROOT / "tests" / "histories"


def check(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="A company's folder, or one of those in it, e.g. agents/; with --histories a "
            "folder of histories."
        ),
    ] = None,
    histories: Annotated[
        bool, typer.Option("--histories", help="Play recorded runs instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Checks a folder as `weir apply` would, and runs the tests beside its prompts. Applies
    nothing.

    With --histories, plays recorded runs of every pattern: would those under way go on as they
    began?
    """
    if histories:
        return check_histories(folder or HISTORIES, as_json)
    if folder is None:
        raise UserError("name a company's folder, e.g. infra/company, or say --histories")
    whole = folder.resolve().parent if folder.resolve().name in FOLDERS else folder
    company = load(whole, settings().services_port)
    result: dict[str, Any] = {
        "definitions": counts(company.definitions),
        "documents": len(company.documents),
        "prompt_tests": sum(len(d.tests) for d in company.definitions if isinstance(d, Prompt)),
        "agents": [
            row_of(agent, company) for agent in company.definitions if isinstance(agent, Agent)
        ],
    }
    print_tokens(result["agents"])
    for warning in company.warnings:
        err.print(f"warning: {warning}")
    err.print(
        f"{whole} is right: "
        + ", ".join(f"{n} {kind}" for kind, n in result["definitions"].items())
        + f", {result['documents']} documents; {result['prompt_tests']} prompt tests passed"
    )
    if as_json:
        say_json(result)


def print_tokens(agents: list[dict[str, Any]]) -> None:
    """The tokens of the fixed part of each agent's prompts."""
    columns = (
        "agent",
        "pattern",
        "model",
        "prompt",
        "policy",
        "task",
        "data",
        "tools",
        "tokens in all",
    )
    out.print(
        table(
            "Tokens of each question's fixed part, about",
            columns,
            [
                (
                    a["agent"],
                    a["pattern"],
                    a["model"],
                    a["prompt"],
                    *(a["tokens"][part] for part in ("policy", "task", "data", "tools")),
                    sum(a["tokens"].values()),
                )
                for a in agents
            ],
            numbers=columns[4:],
        )
    )


def check_histories(folder: Path, as_json: bool) -> None:
    """Each history of a folder, played from its beginning and from each of its states."""
    paths = sorted(folder.glob("*.jsonl")) if folder.is_dir() else [folder]
    if not paths:
        raise UserError(
            f"{folder} has no histories: name a folder with *.jsonl, as tests/histories is one"
        )
    found = {path.stem: differences(path) for path in paths}
    for sentence in (one for told in found.values() for one in told):
        out.print(sentence, markup=False, soft_wrap=True)
    if as_json:
        say_json({"histories": len(found), "differences": found})
    broken = sum(map(bool, found.values()))
    if broken:
        raise UserError(
            f"{broken} of {len(found)} recorded runs would go on otherwise than they began: mend "
            "the change, or "
            "let runs under way end before it is deployed"
        )
    err.print(f"{len(found)} recorded runs go on as they began: {', '.join(found)}")


def counts(definitions: Any) -> dict[str, int]:
    """How many there are of each folder that has any."""
    kinds = [definition.kind for definition in definitions]
    return {folder: kinds.count(kind) for folder, kind in FOLDERS.items() if kind in kinds}


def row_of(agent: Agent, company: Company) -> dict[str, Any]:
    definitions = Definitions.of(*company.definitions)
    parts = parts_of(agent, definitions)
    tools = "".join(
        tool.description + str(tool.parameters)
        for name in agent.tools
        if (tool := definitions.tool(name))
    )
    counted = {name: render.tokens_in(parts.get(name, "")) for name in ("policy", "task", "data")}
    return {
        "agent": agent.name,
        "pattern": agent.pattern,
        "model": agent.model,
        "prompt": name_of(agent),
        "tokens": counted | {"tools": render.tokens_in(tools)},
    }


def parts_of(agent: Agent, definitions: Definitions) -> dict[str, str]:
    """The templates of the agent's prompt, by part; one that stands in the agent is its task."""
    prompt: Definition | None = (
        definitions.prompt(agent.prompt.use) if isinstance(agent.prompt, PromptUse) else None
    )
    return prompt.parts if prompt else {"task": str(agent.prompt)}


def name_of(agent: Agent) -> str:
    use = agent.prompt
    if isinstance(use, str):
        return short(use, 30)
    return f"{use.use}@{use.version or use.alias}"
