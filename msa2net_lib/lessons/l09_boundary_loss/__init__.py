"""What only the lesson "The boundary loss" needs."""
