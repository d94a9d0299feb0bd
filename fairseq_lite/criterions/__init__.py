from fairseq_lite.criterions import with_pruning  # noqa: F401
