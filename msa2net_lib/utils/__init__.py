"""Files, progress bars, interrupts and what is known of the machine: nothing of MSA²Net."""
