"""A network or a single module as a file that other programs run: ONNX, or PyTorch's own ``.pt2``.

Every file is loaded back and compared with the module that it was made from before it takes its place. The signature
that other modules, lessons and tests rely on::

    export_module(
        module,                     # nn.Module of one output, any device; a copy of it is exported, on the CPU
        inputs,                     # name -> example tensor, in the order of `forward`, batch of 2 or more
        path,                       # where to write; .onnx or .pt2
        format=None,                # "onnx" | "pt2"; None: by the path's ending
        *,
        dynamic_axes={0: "batch"},  # axis -> name, of all inputs; gates: {0: "batch", 2: "height", 3: "width"};
                                    # or input -> (axis -> name), for inputs of different sizes
        output="output",            # the output's name
        metadata=None,              # a dict that JSON can hold, stored under the key "msa2net"
        probes=None,                # name -> dict like `inputs`, to compare on; None: seeded, several sizes
        tolerance=1e-4,             # largest absolute difference; above it `DifferentOutputsError`, and no file
    ) -> Exported                   # .path .format .largest_difference .equal_argmax .compared .bytes

`open_exported(path)` gives a function from input tensors to the output tensor, `read_metadata(path)` what is stored.
"""

from msa2net_lib.export.compare import DifferentOutputsError, Exported
from msa2net_lib.export.formats import FORMATS, Format, open_exported, read_metadata
from msa2net_lib.export.module import export_module, seeded_probes
from msa2net_lib.export.network import export_network
