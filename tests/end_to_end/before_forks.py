"""What is worth doing once, before a command is forked."""

import gc

from hydra.core.override_parser.overrides_parser import OverridesParser

# Hydra's parser learns its grammar from the first options that it sees, here one of each kind.
OverridesParser.create().parse_overrides(
    ["a.b=true", "a=null", "a='x y'", "a=x", "a=-1", "a=1.5e-3", "a=[0.9,0.98]", "a='(0.9, 0.98)'", "a=/x/y.pt"]
)
# Commands do not look for garbage among all that was imported.
gc.freeze()
