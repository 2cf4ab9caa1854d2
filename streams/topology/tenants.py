"""Admission: a request becomes a run, waits or is refused, within its tenant's limits."""

from processors.tenants import admission
from streams.engine.shapes import Fold, Step

STEPS = (Step("admit", Fold(admission.Bucket, admission.admit)),)
