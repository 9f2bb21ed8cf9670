"""What only the lesson "Spatial selection" needs."""
