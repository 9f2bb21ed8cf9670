"""Virtual patients: one real CT bent into many."""
