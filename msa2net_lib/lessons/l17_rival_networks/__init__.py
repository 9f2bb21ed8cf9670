"""What only the lesson on the rival networks needs."""
