"""What only the lesson "Frequency" needs."""
