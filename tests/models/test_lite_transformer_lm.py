import torch

from fairseq_lite.building import build_architecture


def language_model(*options):
    return build_architecture("lite_transformer_lm_tiny", list(options), vocab_size=60).eval()


def test_incremental_decoding_equals_teacher_forcing():
    model = language_model()
    tokens = torch.randint(4, 60, (3, 10))
    state = {}
    steps = [model.decoder(tokens[:, : t + 1], incremental_state=state)[0] for t in range(10)]
    torch.testing.assert_close(torch.cat(steps, dim=1), model(tokens)[0], rtol=1e-5, atol=1e-5)


def test_the_future_is_not_seen():
    model = language_model("--decoder-conv-type", "dynamic", "--decoder-conv-glu")
    tokens = torch.randint(4, 60, (2, 10))
    changed = tokens.clone()
    changed[:, 6:] = 5
    torch.testing.assert_close(model(tokens)[0][:, :6], model(changed)[0][:, :6])


def test_adaptive_input_and_softmax_share_their_weights():
    cutoffs = ["--adaptive-input-cutoff", "20,40", "--adaptive-softmax-cutoff", "20,40"]
    model = language_model("--adaptive-input", "--tie-adaptive-weights", "--tie-adaptive-proj", *cutoffs)
    head = model.decoder.adaptive_softmax.head
    assert head.word_proj.weight is model.decoder.embed_tokens.embeddings[0][0].weight


def test_the_decoder_can_be_scripted():
    decoder = language_model().decoder
    tokens = torch.randint(4, 60, (2, 10))
    torch.testing.assert_close(torch.jit.script(decoder)(tokens)[0], decoder(tokens)[0], rtol=1e-5, atol=1e-5)


def test_width_sets_all_widths():
    decoder = language_model("--decoder-embed-dim", "32").decoder
    assert decoder.embed_tokens.embedding_dim == decoder.output_projection.in_features == 32
    assert decoder.layers[0].fc1.out_features == 32
