"""What only the lesson "Multi-scale fusion" needs."""
