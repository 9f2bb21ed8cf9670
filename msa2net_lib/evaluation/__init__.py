"""Evaluation of volumes and images: scores, tables, intervals, seeds."""
