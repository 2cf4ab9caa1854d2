"""Knowledge: documents are cut into chunks, and searched through the port `search`."""

from processors.knowledge import ingest, retrieve
from streams.engine.shapes import Call, Fold, Step

STEPS = (
    Step("search", Call(retrieve.ask, "search", retrieve.tell, ordered=False, repeatable=True)),
    Step("chunk", Fold(ingest.Document, ingest.chunk)),
)
