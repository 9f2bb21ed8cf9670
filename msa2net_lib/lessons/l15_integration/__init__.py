"""What only the lesson "MASAG in your network" needs."""
