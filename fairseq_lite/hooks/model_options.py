"""The options of every model are checked before fairseq builds it."""

import functools


def check_before_building() -> None:
    """Raise UserError for an option of a model outside its range, for fairseq's own models too."""
    from fairseq import models

    from fairseq_lite.option_ranges import check_ranges

    build = models.build_model

    @functools.wraps(build)
    def check_and_build(cfg, *args, **kwargs):
        check_ranges(cfg)
        return build(cfg, *args, **kwargs)

    models.build_model = check_and_build
