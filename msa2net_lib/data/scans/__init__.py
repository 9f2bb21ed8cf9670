"""Preparing scans of any origin into the field's format."""
