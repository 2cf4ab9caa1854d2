"""Webhooks: who outside is told of a run or an alert, and again after a failure."""

from processors.webhooks import delivery
from schemas.events.webhooks import WebhookRested
from streams.engine.shapes import Call, Each, Fold, Step

STEPS = (
    Step("announce", Each(delivery.announce)),
    Step("announce_alert", Each(delivery.announce_alert)),
    Step("deliver", Call(delivery.ask, "webhook", delivery.tell, ordered=False)),
    Step("deliver_again", Fold(delivery.Resting, delivery.rest, wakes=WebhookRested)),
)
