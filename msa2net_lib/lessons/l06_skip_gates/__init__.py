"""What only the lesson "Skip gates compared" needs."""
