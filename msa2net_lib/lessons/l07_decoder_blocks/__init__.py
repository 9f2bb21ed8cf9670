"""What only the lesson "Decoder blocks" needs."""
