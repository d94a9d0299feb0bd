"""What a model costs: Mult-Adds, parameters, milliseconds and bytes."""

from fairseq_lite.measure.latency import Latency, measure_latency
from fairseq_lite.measure.mult_adds import MultAdds, count_mult_adds
from fairseq_lite.measure.parameters import count_parameters
from fairseq_lite.measure.sizes import bytes_by_part

__all__ = ["Latency", "MultAdds", "bytes_by_part", "count_mult_adds", "count_parameters", "measure_latency"]
