"""Photographs and their masks: read, pair, prepare, open."""
