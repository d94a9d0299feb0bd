from fairseq_lite.scoring import rouge  # noqa: F401  registers the scorer
