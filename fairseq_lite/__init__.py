"""fairseq_lite: sequence models made small and fast inside fairseq; importing it registers everything."""

from fairseq_lite.compat import (
    allow_fairseq_checkpoints,
    keep_last_batch,
    require_fairseq,
    restore_fairseq_logs,
    restore_numpy_long,
)

require_fairseq()
restore_fairseq_logs()
restore_numpy_long()
keep_last_batch()
allow_fairseq_checkpoints()

from fairseq_lite.checked_loading import check_and_decompress_checkpoints  # noqa: E402

check_and_decompress_checkpoints()

from fairseq_lite.resumed_order import keep_order_when_resuming  # noqa: E402

keep_order_when_resuming()

import fairseq_lite.criterions  # noqa: E402, F401
import fairseq_lite.models  # noqa: E402, F401
import fairseq_lite.tasks  # noqa: E402, F401
from fairseq_lite.mistakes import print_in_one_line  # noqa: E402

print_in_one_line()
