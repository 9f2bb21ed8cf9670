"""Synthetic skin images, drawn by a program."""
