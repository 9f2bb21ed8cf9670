"""The network's parts. Importing this package imports nothing else: every module stands alone."""
