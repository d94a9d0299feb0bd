"""fairseq_lite: sequence models made small and fast inside fairseq; importing it registers everything."""

from fairseq_lite.compat import allow_fairseq_checkpoints, require_fairseq

require_fairseq()
allow_fairseq_checkpoints()

from fairseq_lite.errors import print_mistakes_in_one_line  # noqa: E402

print_mistakes_in_one_line()

import fairseq_lite.models  # noqa: E402, F401
