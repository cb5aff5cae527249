"""Verbs: the public API. Each plans units of work, runs them on an engine, keeps the manifest."""
