"""What only the lesson "Ablation" needs."""
