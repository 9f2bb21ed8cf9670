"""The command `msa2net`: one file a command."""
