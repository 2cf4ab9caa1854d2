"""Every version of every definition, with what changed."""

from collections import defaultdict
from difflib import unified_diff
from typing import Any

from fastapi.responses import HTMLResponse

from schemas.definitions.base import Definition
from schemas.definitions.kinds import Agent, Definitions
from schemas.definitions.prompts import PromptUse
from streams.console.page import Page, render
from streams.console.queries import (
    PageQuery,
)
from streams.console.request import PageRequestOf
from streams.definitions import yaml_files

QUERIES: dict[str, PageQuery] = {}

PAGE = Page("definitions", "Definitions", 90, QUERIES)


@PAGE.router.get("/definitions")
async def definitions(look: PageRequestOf) -> HTMLResponse:
    definitions = look.gateway.link.current_definitions()
    return render(
        look,
        "definitions.html",
        "Definitions",
        kinds=histories(definitions, look.caller.tenant),
        gone=definitions.gone,
    )


def histories(definitions: Definitions, tenant: str) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Every version of every definition, newest first, with what changed. Secrets are references;
    keys are left out.
    """
    found: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(dict)
    before: dict[tuple[str, str], str] = {}
    own = _prompts_of(definitions, tenant)
    for (kind, name, version), body in sorted(definitions.bodies.items(), key=lambda item: item[0]):
        if kind == "key" or (
            tenant and not (own.get((kind, name), True) and _for(tenant, kind, name, body))
        ):
            continue
        text = yaml_files.dump(
            body.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True
        )
        old = before.get((kind, name))
        changed = (
            ""
            if old is None
            else "\n".join(unified_diff(old.splitlines(), text.splitlines(), lineterm="", n=1))
        )
        found[kind].setdefault(name, []).insert(
            0,
            {
                "version": version,
                "text": text,
                "changed": changed,
                "since": definitions.since.get((kind, name, version)),
            },
        )
        before[kind, name] = text
    return dict(found)


def _for(tenant: str, kind: str, name: str, body: Definition) -> bool:
    """Whether a tenant may see this version of a definition: its own contract, and agents and
    webhooks that are for it.
    """
    tenants = getattr(body, "tenants", ())
    return name == tenant if kind == "tenant" else not tenants or tenant in tenants


def _prompts_of(definitions: Definitions, tenant: str) -> dict[tuple[str, str], bool]:
    """Whether an agent of the tenant uses it, for each prompt and alias that agents use."""
    found: dict[tuple[str, str], bool] = defaultdict(bool)
    for (kind, name, _), body in definitions.bodies.items():
        if isinstance(body, Agent) and isinstance(body.prompt, PromptUse):
            for at in ("prompt", "alias"):
                found[at, body.prompt.use] |= _for(tenant, kind, name, body)
    return dict(found)
