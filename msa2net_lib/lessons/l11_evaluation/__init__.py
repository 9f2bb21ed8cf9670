"""What only the lesson "Evaluation" needs."""
