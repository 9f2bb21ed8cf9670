"""``python -m msa2net_lib`` is the command ``msa2net``."""

from msa2net_lib.cli.main import main

raise SystemExit(main())
