"""The commands of `./weir`: name, module, one line of help.

A command's module is imported when the command is called: the engines' clients cost half a second
that `--help` should not.
"""

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": (
        "streams.cli.operate.demo",
        "Start everything, send twenty requests, show what became of them.",
    ),
    "test": ("streams.cli.develop.tests", "Run every test, on the embedded engines."),
    "lint": ("streams.cli.develop.lint", "Check format, rules, types and dead code."),
    "up": ("streams.cli.operate.stack", "Start the stack in the background."),
    "down": ("streams.cli.operate.stack", "Stop it; its data stays."),
    "status": ("streams.cli.operate.stack", "Which services run, since when, how often restarted."),
    "reset": ("streams.cli.operate.stack", "Stop it and forget its data."),
    "deploy": ("streams.cli.operate.stack", "Make topics, schemas, tables and the collection."),
    "apply": ("streams.cli.operate.stack", "Apply a folder of definitions and documents."),
    "check": (
        "streams.cli.develop.check",
        "Check a folder of definitions, and run the tests beside its prompts.",
    ),
    "prompts": (
        "streams.cli.develop.prompts",
        "List the prompts in force, show a version, compare two.",
    ),
    "try": ("streams.cli.develop.try_out", "Talk to an agent in memory, before anybody else does."),
    "send": ("streams.cli.runs.ask", "Send one request and wait for its outcome."),
    "objects": (
        "streams.cli.runs.objects",
        "What is too large for an event: list it, show it, remove what is old.",
    ),
    "runs": ("streams.cli.runs.runs", "List the newest runs; show, fork, cancel, approve or deny."),
    "traces": (
        "streams.cli.runs.traces",
        "List the newest traces, whoever told them; show one as a tree.",
    ),
    "show": ("streams.cli.runs.runs", "Show one run, step by step."),
    "follow": ("streams.cli.runs.follow", "Read what a model says while it says it."),
    "feedback": ("streams.cli.runs.ask", "Say what somebody thinks of a run."),
    "signal": ("streams.cli.runs.approvals", "Tell a workflow that waits what happened outside."),
    "approvals": ("streams.cli.runs.approvals", "List the calls that wait for somebody's word."),
    "cost": (
        "streams.cli.operate.cost",
        "What it cost, would have cost, will cost, and whether the bill agrees.",
    ),
    "balance": (
        "streams.cli.operate.balance",
        "Whether all that was produced has landed, once, and who is behind.",
    ),
    "query": ("streams.cli.operate.query", "Ask ClickHouse: SQL, or a ready query."),
    "topics": ("streams.cli.operate.query", "List the topics."),
    "schema": ("streams.cli.operate.query", "Print an event's Avro schema."),
    "keys": ("streams.cli.operate.keys", "Make, list and revoke API keys of the gateway."),
    "webhooks": (
        "streams.cli.operate.webhooks",
        "See webhooks and their deliveries, send again what was given up.",
    ),
    "dlq": ("streams.cli.operate.dlq", "List, show and replay dead letters."),
    "top": ("streams.cli.develop.describe", "The last hour, live."),
    "describe": (
        "streams.cli.develop.describe",
        "Diagram, topics, settings, AsyncAPI, out of the code.",
    ),
    "replay": (
        "streams.cli.develop.replay",
        "Play recorded conversations, compare message by message.",
    ),
    "load": ("streams.cli.develop.replay", "Replay real arrivals, compare the sums."),
    "bench": ("streams.cli.develop.bench", "Measure the engine beside its peers."),
    "chaos": ("streams.cli.develop.bench", "Kill everything at random, then count."),
}
"""Command, its module, its help line. `./weir COMMAND --help` has the rest."""
