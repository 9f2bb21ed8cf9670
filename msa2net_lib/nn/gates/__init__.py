"""Skip gates behind one interface: ``gate(x, g) -> y`` turns skip features x into what is added to gating features g.

``gate.attention(x, g)`` is the map in (0, 1) that x is multiplied by, or None for a gate without one. All work on maps
(b, c, h, w) of one size; adapters for other sizes and channels are in `msa2net_lib.nn.adapters`.
"""

from msa2net_lib.nn.gates.aff import AttentionalFusion
from msa2net_lib.nn.gates.attention import AttentionGate
from msa2net_lib.nn.gates.controls import ConstantGate, RandomGate, ShuffledGate
from msa2net_lib.nn.gates.masag_3d import SliceByVolume, inflated
from msa2net_lib.nn.gates.plain import Addition, Concatenation
from msa2net_lib.nn.gates.registry import GATES, GateInfo, build_gate, find_gate, list_gates
from msa2net_lib.nn.gates.sk import SelectiveKernel
