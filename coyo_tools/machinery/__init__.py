"""Machinery: storage, manifest, engine. Knows nothing of images or columns."""
