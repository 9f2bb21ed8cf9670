"""What only the lesson "Grad-CAM" needs."""
