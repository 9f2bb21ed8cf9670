"""What only the lesson "Paper audit" needs."""
