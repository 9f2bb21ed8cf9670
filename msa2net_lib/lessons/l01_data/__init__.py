"""What only the lesson "Data" needs."""
