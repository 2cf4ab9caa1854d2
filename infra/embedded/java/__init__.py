"""The Java programs of the embedded stack: options, and caches recorded ahead of time."""
