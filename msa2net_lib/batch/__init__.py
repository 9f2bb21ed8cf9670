"""Batch reproduction: what is to be run, one job at a time, driven by `workflow/Snakefile`."""
