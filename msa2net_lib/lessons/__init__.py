"""The lessons: their registry, the machinery they share, and one room each."""
