"""``python -m msa2net_lib.batch JOB``: one job of a batch run, in the folder of its profile's results."""

import sys

from msa2net_lib.batch.job import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
