"""The kinds of models that are measured."""

ENCODER_DECODER, LANGUAGE_MODEL, ENCODER = "encoder-decoder", "language model", "encoder"
