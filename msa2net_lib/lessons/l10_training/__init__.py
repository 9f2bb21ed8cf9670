"""What only the lesson "Training" needs."""
