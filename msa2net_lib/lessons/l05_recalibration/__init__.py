"""What only the lesson "Recalibration and the whole gate" needs."""
