"""One module a file format: each checks that the stored bytes are complete before SimpleITK decodes them."""
