"""Files of embeddings (--encoder-embed-path, --decoder-embed-path), which a trained model has no more need of."""

import contextlib

from omegaconf import OmegaConf, open_dict


def forget_embedding_files(options) -> None:
    """Take the paths out of a model's options, in place: its checkpoint holds the embeddings themselves."""
    with open_dict(options) if OmegaConf.is_config(options) else contextlib.nullcontext():
        for name in ("encoder_embed_path", "decoder_embed_path"):
            if getattr(options, name, None):
                setattr(options, name, None)
