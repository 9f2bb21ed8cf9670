"""Synthetic skin pictures, drawn by a program."""
