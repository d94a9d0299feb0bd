"""The Bi-LSTM of sentences: by hand, alone as in a batch, its size by formula, and as a roberta's student."""

import pytest
import torch
from distilled import PAD, TRAINED, batch, prepare, write_dictionaries

from fairseq_lite.building import build_architecture, task_of_sizes
from fairseq_lite.checkpoints import load_model
from fairseq_lite.cli import main
from fairseq_lite.errors import UserError
from fairseq_lite.measure.mult_adds import count_mult_adds
from fairseq_lite.models.bilstm_classifier import BiLSTMClassifier, BiLSTMOptions

HEAD = "sentence_classification_head"
BASE = "sentence_prediction"
STUDENT = f"--task {BASE} --num-classes 3 --max-positions 12 --arch bilstm_classifier"
SENTENCES = torch.tensor([[0, 5, 6, 7, 2], [0, 8, 2, PAD, PAD]])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dictionaries(tmp_path_factory.mktemp("data"))


def classifier(layers=1, entries=24, classes=3, **sizes):
    options = BiLSTMOptions(encoder_layers=layers, **sizes)
    model = BiLSTMClassifier.build_model(options, task_of_sizes(entries, entries))
    model.register_classification_head(HEAD, classes)
    return model.eval()


def direction_by_hand(lstm, x, suffix):
    """The states of one direction over x: [T, C], as the gates give them."""
    w, u, b, c = (getattr(lstm, f"{name}_{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    hidden, cell, states = torch.zeros(lstm.hidden_size), torch.zeros(lstm.hidden_size), []
    for word in x:
        enter, forget, new, leave = (w @ word + b + u @ hidden + c).chunk(4)
        cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
        hidden = leave.sigmoid() * cell.tanh()
        states.append(hidden)
    return torch.stack(states)


def logits_by_hand(model, tokens):
    x, lstm, head = model.encoder.embed_tokens(tokens), model.encoder.lstm, model.classification_heads[HEAD]
    for layer in range(lstm.num_layers):
        forwards = direction_by_hand(lstm, x, f"l{layer}")
        backwards = direction_by_hand(lstm, x.flip(0), f"l{layer}_reverse")
        x = torch.cat([forwards, backwards.flip(0)], dim=1)
    return head.out_proj(head.dense(torch.cat([forwards[-1], backwards[-1]])).relu())


@torch.no_grad()
@pytest.mark.parametrize("layers", [1, 2])
def test_a_batch_gives_what_each_sentence_gives_by_hand_whatever_the_padding(layers):
    model = classifier(layers)
    found, _ = model(SENTENCES, classification_head_name=HEAD)
    wanted = torch.stack([logits_by_hand(model, sentence[sentence != PAD]) for sentence in SENTENCES])
    torch.testing.assert_close(found, wanted)
    longer = torch.nn.functional.pad(SENTENCES, (0, 4), value=PAD)
    torch.testing.assert_close(model(longer, classification_head_name=HEAD)[0], found)
    alone, _ = model(SENTENCES[1:, :3], classification_head_name=HEAD)
    torch.testing.assert_close(alone, found[1:])


def formula(v, e, layers, h, p, c):
    return v * e + 8 * h * (e + h + 2) + (layers - 1) * 8 * h * (3 * h + 2) + p * (2 * h + 1) + c * (p + 1)


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_parameters_by_formula_and_below_a_million():
    usual = classifier(entries=30_522, classes=10)
    assert parameters(usual) == formula(30_522, 24, 1, 128, 128, 10) < 1_000_000
    deep = classifier(2, 50, 7, encoder_embed_dim=6, encoder_hidden_size=5, pooler_dim=4)
    assert parameters(deep) == formula(50, 6, 2, 5, 4, 7)


def test_multiply_adds_are_those_of_the_matrices():
    counted = count_mult_adds(build_architecture("bilstm_classifier", [], 50).eval(), src_len=7)
    assert counted.total == 7 * 2 * 4 * 128 * (24 + 128)


def test_a_checkpoint_loads_with_its_head_and_can_be_compressed(data, tmp_path):
    training = prepare(data, BASE, STUDENT, dropout="")
    path = training.save(tmp_path / "model.pt")
    assert main(["compress", path, str(tmp_path / "small.pt")]) == 0
    wanted, _ = training.model.eval()(SENTENCES, classification_head_name=HEAD)
    exact, close = (load_model(str(tmp_path / name)) for name in ("model.pt", "small.pt"))
    assert torch.equal(exact(SENTENCES, classification_head_name=HEAD)[0], wanted)
    torch.testing.assert_close(close(SENTENCES, classification_head_name=HEAD)[0], wanted, rtol=0.1, atol=0.1)


def test_the_logits_of_a_roberta_are_learnt(data, tmp_path):
    teacher = prepare(data, BASE, TRAINED[BASE], seed=7).save(tmp_path / "teacher.pt")
    given = f"{STUDENT} --teacher {teacher} --distillation-weight 1"
    training = prepare(data, f"{BASE}_with_distillation", given, dropout="--dropout 0")
    sample = batch(BASE, training.model)
    optimizer = torch.optim.Adam(training.model.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        loss, _, _ = training.criterion(training.model, sample)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]
    mistaken = prepare(data, f"{BASE}_with_distillation", f"{given} --distillation-layers 0:0", dropout="")
    with pytest.raises(UserError, match="the student has no encoder of layers"):
        mistaken.criterion.meet(mistaken.model)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: classifier(layers=0), "--encoder-layers 0: must be at least 1"),
        (lambda: classifier()(SENTENCES), "--arch bilstm_classifier: predicts no words"),
        (lambda: classifier(max_positions=4)(SENTENCES, True), "--max-positions 4: a sentence has 5 tokens"),
        (lambda: classifier()(SENTENCES[1:, 3:], True), "sentence 0 of the batch: all padding"),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(UserError, match=message):
        call()


@pytest.mark.parametrize("option", ["--encoder-hidden-size", "--pooler-dim"])
def test_sizes_of_zero_are_refused(option):
    with pytest.raises(UserError, match=f"{option} 0: must be a whole number from 1"):
        build_architecture("bilstm_classifier", [option, "0"])
