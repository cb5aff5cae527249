"""Stages: one unit of work each, files in and files out. They know nothing of engines."""
