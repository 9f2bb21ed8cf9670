"""``python -m msa2net_lib`` is the command ``msa2net``."""

from msa2net_lib.cli import main

raise SystemExit(main())
