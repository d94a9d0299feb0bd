from fairseq_lite.models import architectures, bilstm_classifier, pruned  # noqa: F401  registers the models with their named sizes
