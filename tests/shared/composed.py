"""fairseq's configuration of a training, which it takes half a second to compose: once for the same options."""

import pickle

from fairseq.dataclass.utils import convert_namespace_to_omegaconf

_COMPOSED = {}


def composed(args):
    """The configuration of parsed options, which the caller may change."""
    key = repr(sorted(vars(args).items()))
    if key not in _COMPOSED:
        # copy.deepcopy would leave the model's Namespace shared
        _COMPOSED[key] = pickle.dumps(convert_namespace_to_omegaconf(args))
    return pickle.loads(_COMPOSED[key])
