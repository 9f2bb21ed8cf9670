"""One module a file format: each checks that what a file declares is there, and that it makes sense, and reads it."""
