from fairseq_lite.models import architectures, pruned  # noqa: F401  registers the models with their named sizes
