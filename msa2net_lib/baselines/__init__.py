"""The networks that the paper compares with, and the registry of every network."""
