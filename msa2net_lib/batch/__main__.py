"""``python -m msa2net_lib.batch JOB``: one job of a batch run, in the folder of its profile's results."""

import sys

from msa2net_lib.batch.job import main
from msa2net_lib.utils.garbage import collect_rarely

if __name__ == "__main__":
    collect_rarely()
    sys.exit(main(sys.argv[1:]))
