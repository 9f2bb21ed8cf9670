"""Training: one loop for a CPU, a GPU or many, that can be stopped anywhere and goes on as if it had not been.

`run` is the loop; `sampler` says which sample is seen when, `optimizer` how weights move, `engine` what it runs on,
`samples` where samples lie, `selection` which weights are kept, `files` what the files of a run are called, `logger`
what is written down, `failures` what is said when something goes wrong, `distributed` how several processes act as one.
"""

from msa2net_lib.training.run import History, TrainResult, train
from msa2net_lib.utils.devices import choose_device
