"""What is not exported is refused by name."""

import pytest
from exported import T2R, TINY, build

from fairseq_lite.errors import UserError
from fairseq_lite.export.config import CLASSIFICATION, LANGUAGE_MODEL, TRANSLATION, Config
from fairseq_lite.export.graphs import write

REFUSED = {
    "another convolutional decoder": (
        "lightconv " + TINY + " --encoder-kernel-size-list [3,3] --decoder-kernel-size-list [3,3]",
        "LightConvEncoder",
    ),
    "alignments": (f"transformer_align {TINY}", "architecture"),
    "cross-self-attention": (f"transformer {TINY} --cross-self-attention --no-cross-attention", "--cross-self-att"),
    "no cross-attention": (f"transformer {TINY} --no-cross-attention", "--no-cross-attention"),
}


@pytest.mark.parametrize("options, named", REFUSED.values(), ids=REFUSED)
def test_what_is_not_exported_is_refused_in_one_line(options, named):
    with pytest.raises(UserError, match=named) as error:
        write(build(options), Config(TRANSLATION, options.split()[0], 32, portable=False))
    assert str(error.value).startswith(f"{options.split()[0]}: ")
    assert "\n" not in str(error.value)


def test_an_activation_that_is_not_written_is_refused():
    model = build(T2R)
    model.decoder.cfg.activation_fn = "swish"
    with pytest.raises(UserError, match="t2r: --activation-fn swish"):
        write(model, Config(TRANSLATION, "t2r", 32, portable=False))


@pytest.mark.parametrize("kind", [CLASSIFICATION, LANGUAGE_MODEL])
def test_a_model_of_another_kind_is_refused(kind):
    model = build(f"transformer {TINY}")
    del model.decoder
    with pytest.raises(UserError, match="cannot be exported"):
        write(model, Config(kind, "transformer", 32, portable=False))
