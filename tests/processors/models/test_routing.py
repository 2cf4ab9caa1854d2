"""Does a question go to the models that can take it, in the order that the route says, and always
the same way?
"""

from collections import Counter
from decimal import Decimal
from uuid import UUID

import pytest

from processors.models import call
from processors.models.routing import choose, unrouted
from schemas.definitions.kinds import Definitions, Model, Route
from schemas.definitions.prices import Price
from schemas.definitions.routes import Candidate, Check, Hedge
from schemas.events.agent.models import ModelAsked
from schemas.events.values import Message, Tokens, ToolSpec
from schemas.ports import ChatAnswer, ChatQuestion, Impossible
from tests.support.processors import of_run

TOOL = ToolSpec(name="look", parameters="{}")


def model_of(name, price=None, **can):
    made = Price(input=price, output=price) if price is not None else None
    return Model(
        name=name,
        provider="stub",
        base_url="http://m",
        upstream=name,
        price=made,
        timeout_ms=5_000,
        **can,
    )


MODELS = (
    model_of("cheap", "1", tools=False),
    model_of("mid", "10", context_tokens=100),
    model_of("dear", "100"),
    model_of("eyes", "50", vision=True, json_schema=True),
    model_of("free"),
)


def asks(route, words="Where is it?", run=None, **fields):
    question = of_run(
        ModelAsked,
        "q",
        step=1,
        model="main",
        messages=(Message(role="user", content=words),),
        **fields,
    )
    return question.model_copy(update={"run": run} if run else {}), Definitions.of(*MODELS, route)


def names(route, words="Where is it?", **fields):
    chosen = choose(*asks(route, words, **fields))
    return (
        chosen.reason if isinstance(chosen, Impossible) else " ".join(m.name for m in chosen.models)
    )


def route(*models, **fields):
    made = tuple(c if isinstance(c, Candidate) else Candidate(model=c) for c in models)
    return Route(name="main", candidates=made, **fields)


LONG = "x" * 4_000
DEARER = Candidate(model="dear", max_cost_usd="0.01")


@pytest.mark.parametrize(
    ("policy", "question", "order"),
    [
        (route("dear", "mid"), {}, "dear mid"),
        (route("dear", "mid"), {"words": LONG}, "dear"),  # the question does not fit into mid
        (route("cheap", "mid"), {"tools": (TOOL,)}, "mid"),  # cheap calls no tools
        (route("cheap", "mid"), {}, "cheap mid"),
        (
            route("dear", "free", "cheap", "mid", by="cost"),
            {},
            "cheap mid dear free",
        ),  # who has no price comes last
        (route("dear", fallback=("cheap", "dear", "mid")), {}, "dear cheap mid"),
        (route("cheap", fallback=("mid",)), {"tools": (TOOL,), "fallback": ("dear",)}, "mid dear"),
        (route("dear"), {"fallback": ("mid", "gone")}, "dear mid"),
        (route("dear", "eyes", needs=("vision",)), {}, "eyes"),
        (
            route(Candidate(model="eyes", needs=("tools",)), "mid"),
            {},
            "mid",
        ),  # eyes is for questions with tools only
        (route(Candidate(model="eyes", needs=("tools",)), "mid"), {"tools": (TOOL,)}, "eyes mid"),
        (route(DEARER, "mid"), {"max_output_tokens": 1_000}, "mid"),
        (route(DEARER, "mid"), {"max_output_tokens": 10}, "dear mid"),
        (
            route(Candidate(model="free", max_cost_usd="9"), "mid"),
            {},
            "mid",
        ),  # nobody knows what it would cost
        (route(Candidate(model="dear", tenants=("acme",)), "mid"), {}, "dear mid"),
        (route(Candidate(model="dear", tenants=("other",)), "mid"), {}, "mid"),
        (route(Candidate(model="dear", tenants=("other",))), {}, "no_capable_model"),
        (route("cheap"), {"tools": (TOOL,)}, "no_capable_model"),
        (route("gone"), {}, "unknown_model"),
        (
            Route(name="main", cascade=("cheap", "mid", "dear"), check=Check(min_chars=5)),
            {},
            "cheap mid dear",
        ),
        (
            Route(name="main", cascade=("cheap", "dear"), check=Check(min_chars=5)),
            {"tools": (TOOL,)},
            "dear",
        ),
    ],
)
def test_who_is_asked_in_which_order(policy, question, order):
    assert names(policy, **question) == order


def test_whoever_cannot_take_the_question_is_told_with_the_reason():
    chosen = choose(
        *asks(route("cheap", Candidate(model="dear", tenants=("other",)), "gone"), tools=(TOOL,))
    )
    assert chosen.detail == (
        "no model can take this question: dear is not for tenant 'acme'; cheap has not `tools: "
        "true`; gone is not defined. "
        "Add a candidate or a fallback that can to 'main'"
    )


def test_a_models_own_name_is_that_model_whatever_routes_there_are():
    question, given = asks(Route(name="mid", candidates=(Candidate(model="dear"),)))
    assert [m.name for m in choose(question.model_copy(update={"model": "mid"}), given).models] == [
        "mid"
    ]


def test_by_share_a_run_keeps_its_draw_and_the_shares_come_true():
    policy = route(Candidate(model="mid", share=3), Candidate(model="dear", share=1), by="share")
    drawn = Counter(names(policy, run=UUID(int=n)) for n in range(400))
    assert drawn == Counter(names(policy, run=UUID(int=n)) for n in range(400))
    assert set(drawn) == {"mid", "dear"} and 260 < drawn["mid"] < 340


@pytest.mark.parametrize(
    ("policy", "ways"),
    [
        (route("mid", "dear", by="latency", fallback=("free",)), ("main", 2, None, 0.0, 0)),
        (route("mid", "dear", hedge=Hedge(after_ms=300, budget=0.2)), ("main", 0, 300, 0.2, 0)),
        (
            Route(name="main", cascade=("cheap", "mid", "dear"), fallback=("free",), check=Check()),
            ("main", 0, None, 0.0, 2),
        ),
    ],
)
def test_what_has_to_be_measured_is_left_to_the_port(policy, ways):
    question = call.ask(*asks(policy))
    assert isinstance(question, ChatQuestion)
    assert (
        question.ways.name,
        question.ways.measured,
        question.ways.hedge_ms,
        question.ways.hedge_budget,
        question.ways.checked,
    ) == ways


@pytest.mark.parametrize(("left_ms", "whole_ms"), [(60_000, 10_000), (7_000, 7_000)])
def test_all_models_together_have_their_times_and_no_more_than_the_run_has_left(left_ms, whole_ms):
    question = call.ask(*asks(route("mid", "dear"), timeout_ms=left_ms))
    assert question.timeout_ms == whole_ms and [e.timeout_ms for e in question.endpoints] == [
        5_000,
        5_000,
    ]


@pytest.mark.parametrize(
    ("policy", "fields", "usd"),
    [
        (route("cheap", "mid", "dear"), {}, "0.020000"),  # 200 tokens at 100 a million
        (
            route("dear", "mid"),
            {"endpoint": "dear", "cost": "0.03"},
            "0.03",
        ),  # what it did cost is never less
        (
            route("mid", "free"),
            {"endpoint": "mid", "cost": "0.002"},
            "0.002",
        ),  # nobody knows the price of the other
        (route("cheap", DEARER), {}, "0.020000"),  # its bound kept it away: that is what is saved
        (
            route("cheap", Candidate(model="dear", tenants=("other",))),
            {},
            "0.0002",
        ),  # it was never open to this tenant
        (route("cheap", Candidate(model="dear", needs=("tools",))), {}, "0.0002"),
        (
            route("cheap", "mid"),
            {"words": LONG},
            None,
        ),  # cheap could not take the question: it was no choice
        (route("mid", fallback=("cheap",)), {}, None),  # a fallback answered
        (route("cheap", "dear"), {"cost": None}, None),
        (route("cheap", "dear"), {"tier": "batch"}, "0.0002"),  # dear has no price for that tier
        (Route(name="main", cascade=("cheap", "mid"), check=Check(min_chars=1)), {}, "0.002000"),
    ],
)
def test_what_a_route_saved_is_held_against_its_dearest_choice(policy, fields, usd):
    fields = {"endpoint": "cheap", "cost": "0.0002", "tier": "", "words": "Where?"} | fields
    asked, given = asks(policy, fields["words"])
    if fields["words"] is LONG:
        given = Definitions.of(*MODELS[1:], model_of("cheap", "1", context_tokens=10), policy)
    answer = ChatAnswer(
        fields["endpoint"],
        "stub",
        "",
        "There.",
        (),
        "stop",
        Tokens(input_tokens=100, output_tokens=100),
        asked.at,
        asked.at,
        service_tier=fields["tier"],
    )
    cost_usd = None if fields["cost"] is None else Decimal(fields["cost"])
    assert unrouted(asked, answer, cost_usd, given) == (None if usd is None else Decimal(usd))
    assert (
        unrouted(asked.model_copy(update={"model": "dear"}), answer, cost_usd, given) is None
    )  # no route chose
