"""What only the lesson "Cross-modulation" needs."""
