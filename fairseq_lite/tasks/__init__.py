from fairseq_lite.tasks import finetune  # noqa: F401  registers the tasks
