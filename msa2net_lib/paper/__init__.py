"""The paper as data: its published numbers with their sources."""
