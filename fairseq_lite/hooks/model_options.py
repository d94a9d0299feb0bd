"""The options of every model are checked before fairseq builds it, and files that it has no need of are forgotten."""

import functools


def check_before_building() -> None:
    """Raise UserError for an option of a model outside its range, for fairseq's own models too."""
    from fairseq import models

    from fairseq_lite.embedding_files import forget_embedding_files
    from fairseq_lite.option_ranges import check_ranges

    build = models.build_model

    @functools.wraps(build)
    def check_and_build(cfg, task, *from_checkpoint, **named):
        check_ranges(cfg)
        if any(from_checkpoint) or named.get("from_checkpoint"):
            forget_embedding_files(cfg)
        return build(cfg, task, *from_checkpoint, **named)

    models.build_model = check_and_build
