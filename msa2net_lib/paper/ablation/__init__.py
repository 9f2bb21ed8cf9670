"""Table 3: its rows, how they are trained, what is compared."""
