"""Pieces: rules, fetching, images, shards, scores. Plain functions, most of them pure."""
