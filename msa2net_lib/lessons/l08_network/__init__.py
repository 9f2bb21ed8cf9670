"""What only the lesson "The network and its parameters" needs."""
