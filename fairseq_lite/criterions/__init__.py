from fairseq_lite.criterions import with_distillation, with_pruning  # noqa: F401
