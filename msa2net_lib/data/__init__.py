"""Data: read and orient volumes, prepare them in the field's format, and serve slices for training."""
