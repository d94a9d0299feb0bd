import json
import os
import shutil
import sys

import pytest
import torch
from fairseq.data import Dictionary

from fairseq_lite.checkpoints import load_model, read_checkpoint
from fairseq_lite.cli import main

# None of torchaudio's builds imports beside every torch, and transformers asks no more than whether it is there.
sys.modules.setdefault("torchaudio", None)
transformers = pytest.importorskip("transformers")

WORDS = [f"word{i}" for i in range(40)]
# Special tokens stand elsewhere than in fairseq's dictionary.
VOCABULARY = ["[PAD]", "[unused0]", *WORDS[:20], "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS[20:]]
SIZES = dict(
    hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48, max_position_embeddings=24
)
PRETRAINED = "FAIRSEQ_LITE_TEST_BERT"


def save(model, folder, vocabulary=VOCABULARY):
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    return folder


def bert(kind="BertModel", spread=0.0, **options):
    """A random BERT; with a spread, of biases that are not 0 and of normalisations that are not the identity."""
    config = transformers.BertConfig(vocab_size=len(VOCABULARY), **SIZES, **options)
    model = getattr(transformers, kind)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += spread * torch.randn_like(parameter)
    return model


@pytest.fixture
def convert(tmp_path):
    """Converts a folder and loads what came of it: the model, and its dictionary as fairseq's tasks load it."""

    def convert(folder):
        assert main(["convert", "bert", str(folder), str(tmp_path / "out")]) == 0
        dictionary = Dictionary.load(str(tmp_path / "out" / "dict.txt"))
        dictionary.add_symbol("<mask>")
        return load_model(str(tmp_path / "out" / "model.pt")), dictionary

    return convert


def batch(vocabulary, lengths, words):
    """Sentences of random words as BERT's rows of the vocabulary, padded, [B, T]."""
    rows = {word: row for row, word in enumerate(vocabulary)}
    known = torch.tensor([rows[word] for word in words])
    tokens = torch.full((len(lengths), max(lengths)), rows["[PAD]"])
    for sentence, length in zip(tokens, lengths):
        sentence[:length] = known[torch.randint(len(known), (length,))]
        sentence[0], sentence[length - 1] = rows["[CLS]"], rows["[SEP]"]
    return tokens


def for_fairseq(tokens, vocabulary, dictionary):
    """The same sentences as indices of fairseq's dictionary."""
    names = {"[CLS]": "<s>", "[PAD]": "<pad>", "[SEP]": "</s>", "[UNK]": "<unk>", "[MASK]": "<mask>"}
    return tokens.clone().apply_(lambda row: dictionary.index(names.get(vocabulary[row], vocabulary[row])))


@torch.no_grad()
def assert_same_hidden_states(theirs, ours, tokens, vocabulary, dictionary):
    """After the embeddings and after every layer, wherever there is no padding."""
    there = tokens != vocabulary.index("[PAD]")
    wanted = theirs(tokens, attention_mask=there.long(), output_hidden_states=True).hidden_states
    inputs = for_fairseq(tokens, vocabulary, dictionary)
    _, extra = ours(inputs, features_only=True, return_all_hiddens=True)
    assert len(extra["inner_states"]) == len(wanted)
    for found, states in zip(extra["inner_states"], wanted):
        torch.testing.assert_close(found.transpose(0, 1)[there], states[there], rtol=0, atol=1e-4)


@pytest.mark.parametrize("lengths", [(24, 24), (24, 7, 2, 15)], ids=["full", "padded"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"spread": 0.1},
        {"spread": 0.1, "hidden_act": "gelu_new"},
        {"spread": 0.1, "hidden_act": "relu"},
        {"spread": 0.1, "layer_norm_eps": 1e-5},
        {"spread": 0.1, "layer_norm_eps": 1e-6},
    ],
    ids=str,
)
def test_hidden_states_equal_those_of_transformers(options, lengths, convert, tmp_path):
    theirs = bert(**options)
    ours, dictionary = convert(save(theirs, tmp_path / "bert"))
    tokens = batch(VOCABULARY, lengths, [*WORDS, "[UNK]", "[MASK]", "[unused0]"])
    assert_same_hidden_states(theirs, ours, tokens, VOCABULARY, dictionary)


def test_hidden_states_of_a_pretrained_model(convert):
    folder = os.environ.get(PRETRAINED)
    if not folder:
        pytest.skip(f"{PRETRAINED} names no folder of a pretrained BERT")
    theirs = transformers.BertModel.from_pretrained(folder).eval()
    with open(os.path.join(folder, "vocab.txt"), encoding="utf-8") as file:
        vocabulary = file.read().splitlines()
    ours, dictionary = convert(folder)
    words = [word for word in vocabulary if word.isalpha()][:5000]
    tokens = batch(vocabulary, (20, 4, 12, 9, 31, 6), words)
    assert_same_hidden_states(theirs, ours, tokens, vocabulary, dictionary)


@torch.no_grad()
def test_the_head_for_masked_words_is_taken_where_there_is_one(convert, tmp_path):
    theirs = bert("BertForMaskedLM", spread=0.1)
    ours, dictionary = convert(save(theirs, tmp_path / "bert"))
    tokens = batch(VOCABULARY, (9, 5), [*WORDS, "[MASK]"])
    there = tokens != 0
    inputs = for_fairseq(tokens, VOCABULARY, dictionary)
    order = for_fairseq(torch.arange(len(VOCABULARY)), VOCABULARY, dictionary)
    found = ours(inputs)[0][there][:, order]
    wanted = theirs(tokens, attention_mask=there.long()).logits[there]
    # [PAD] is never a word to guess; fairseq keeps its embedding 0.
    torch.testing.assert_close(found[:, 1:], wanted[:, 1:], rtol=1e-4, atol=1e-4)


def test_a_head_that_is_not_there_starts_the_same_every_time(convert, tmp_path):
    folder = save(bert(), tmp_path / "bert")
    first, second = (convert(folder)[0].encoder.lm_head.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert first["dense.weight"].std() == pytest.approx(0.02, rel=0.1)


def test_the_dictionary_has_every_entry_in_order(convert, tmp_path):
    model, dictionary = convert(save(bert(), tmp_path / "bert"))
    assert dictionary.symbols == ["<s>", "<pad>", "</s>", "<unk>", "[unused0]", *WORDS, "<mask>"]
    assert model.encoder.sentence_encoder.embed_tokens.num_embeddings == len(dictionary)
    assert not model.encoder.sentence_encoder.embed_tokens.weight[dictionary.pad()].any()


def test_options_are_those_of_the_config(convert, tmp_path):
    convert(save(bert(hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.3), tmp_path / "bert"))
    options = read_checkpoint(str(tmp_path / "out" / "model.pt"))["cfg"]["model"]
    sizes = ("encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim", "encoder_attention_heads", "max_positions")
    assert [getattr(options, name) for name in sizes] == [3, 32, 48, 4, 24]
    assert (options.dropout, options.attention_dropout) == (0.2, 0.3)


def change_config(folder, **options):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **options}))


def change_weights(folder, change):
    from safetensors.torch import load_file, save_file

    state = load_file(str(folder / "model.safetensors"))
    change(state)
    save_file(state, str(folder / "model.safetensors"))


def drop_and_reshape(state):
    del state["encoder.layer.1.attention.self.key.bias"]
    state["encoder.layer.2.output.dense.weight"] = torch.zeros(3, 5)
    state["adapter.weight"] = torch.zeros(1)


def classes_of_tokens(state):
    del state["pooler.dense.weight"], state["pooler.dense.bias"]
    state["classifier.weight"], state["classifier.bias"] = torch.zeros(3, 32), torch.zeros(3)


MISTAKES = {
    "no_weights_at_all": (
        lambda folder: (folder / "model.safetensors").unlink(),
        ["model.safetensors or ", "pytorch_model.bin: no such file"],
    ),
    "classes_of_tokens": (
        lambda folder: change_weights(folder, classes_of_tokens),
        ["its classifier is not one of sentences"],
    ),
    "no_vocabulary": (lambda folder: (folder / "vocab.txt").unlink(), ["vocab.txt: no such file"]),
    "other_model": (
        lambda folder: change_config(folder, model_type="distilbert"),
        ["'distilbert'; only 'bert' and 'roberta'"],
    ),
    "no_json": (lambda folder: (folder / "config.json").write_text("{"), ["config.json: not JSON"]),
    "options": (
        lambda folder: change_config(folder, position_embedding_type="relative_key", hidden_act="silu"),
        ["position_embedding_type 'relative_key' instead of 'absolute'", "hidden_act 'silu' instead of one of gelu"],
    ),
    "sizes": (
        lambda folder: change_config(folder, hidden_size="wide", num_hidden_layers=0, intermediate_size=None),
        ["num_hidden_layers 0 is no number", "hidden_size 'wide' is no number", "intermediate_size None is no number"],
    ),
    "rates": (
        lambda folder: change_config(folder, layer_norm_eps=float("nan"), hidden_dropout_prob=2),
        ["layer_norm_eps nan is no number above 0", "hidden_dropout_prob 2 is no rate"],
    ),
    "heads": (lambda folder: change_config(folder, num_attention_heads=5), ["model.safetensors"]),
    "kinds": (lambda folder: change_config(folder, hidden_act=["gelu"], is_decoder=[]), ["hidden_act ['gelu']"]),
    "other_width": (lambda folder: change_config(folder, hidden_size=64), ["hidden_size 64: not the width of"]),
    "not_finite": (
        lambda folder: change_weights(
            folder, lambda state: state["encoder.layer.1.output.dense.bias"].fill_(float("inf"))
        ),
        ["model.safetensors: holds weights that are infinite or not a number"],
    ),
    "bytes": (lambda folder: (folder / "vocab.txt").write_bytes(b"\xff\xfe[CLS]"), ["vocab.txt: not text in UTF-8"]),
    "no_weights": (
        lambda folder: (folder / "model.safetensors").write_bytes(b"weights"),
        ["model.safetensors: not a readable safetensors file"],
    ),
    "weights": (
        lambda folder: change_weights(folder, drop_and_reshape),
        [
            "3 weights do not fit roberta",
            "layers.1.self_attn.k_proj.bias is missing",
            "layers.2.fc2.weight is [3, 5] instead of [32, 48]",
            "adapter.weight is left over",
        ],
    ),
    "embeddings": (
        lambda folder: change_weights(folder, lambda state: state.pop("embeddings.token_type_embeddings.weight")),
        ["lacks the embeddings of a BERT: embeddings.token_type_embeddings.weight"],
    ),
    "short_vocabulary": (
        lambda folder: (folder / "vocab.txt").write_text("\n".join(VOCABULARY[:-1]) + "\n"),
        ["model.safetensors: embeds 46 entries", "vocab.txt has 45"],
    ),
    "no_special_tokens": (
        lambda folder: (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n"),
        ["vocab.txt: lacks [CLS], [PAD], [SEP], [UNK], [MASK]"],
    ),
    "double_words": (
        lambda folder: (folder / "vocab.txt").write_text("\n".join([*VOCABULARY[:-2], "word0", "<s>"]) + "\n"),
        ["stand twice or are fairseq's own symbols: word0, <s>"],
    ),
}


ROBERTA_VOCABULARY = ["<s>", "<pad>", "</s>", "<unk>", *WORDS, "<mask>"]


def roberta(kind="RobertaModel", spread=0.1, **options):
    """A random RoBERTa, whose positions begin behind two rows of padding."""
    sizes = {**SIZES, "max_position_embeddings": SIZES["max_position_embeddings"] + 2, "type_vocab_size": 1}
    config = transformers.RobertaConfig(
        vocab_size=len(ROBERTA_VOCABULARY), pad_token_id=1, layer_norm_eps=1e-5, **sizes, **options
    )
    model = getattr(transformers, kind)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += spread * torch.randn_like(parameter)
    return model


def save_roberta(model, folder, vocabulary_file="vocab.json"):
    model.save_pretrained(folder)
    numbers = {word: number for number, word in enumerate(ROBERTA_VOCABULARY)}
    if vocabulary_file == "tokenizer.json":
        special = [{"content": word, "id": numbers.pop(word)} for word in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")]
        numbers = {"added_tokens": special, "model": {"type": "BPE", "vocab": numbers}}
    (folder / vocabulary_file).write_text(json.dumps(numbers), encoding="utf-8")
    return folder


def roberta_batch(lengths, words=WORDS):
    """Sentences whose symbols have the same numbers on both sides, [B, T]."""
    rows = [torch.tensor([0, *(4 + torch.randint(len(words), (length - 2,))), 2]) for length in lengths]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=1)


def as_bin(folder):
    """The weights in a file of torch.save."""
    from safetensors.torch import load_file

    torch.save(load_file(str(folder / "model.safetensors")), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


@torch.no_grad()
@pytest.mark.parametrize("vocabulary_file", ["vocab.json", "tokenizer.json"])
def test_hidden_states_and_words_of_a_roberta(vocabulary_file, convert, tmp_path):
    theirs = roberta("RobertaForMaskedLM")
    folder = save_roberta(theirs, tmp_path / "roberta", vocabulary_file)
    as_bin(folder)
    ours, dictionary = convert(folder)
    assert dictionary.symbols == ROBERTA_VOCABULARY
    tokens = roberta_batch((24, 7, 3))
    there = tokens != 1
    wanted = theirs(tokens, attention_mask=there.long(), output_hidden_states=True)
    logits, extra = ours(tokens, return_all_hiddens=True)
    for found, states in zip(extra["inner_states"], wanted.hidden_states):
        torch.testing.assert_close(found.transpose(0, 1)[there], states[there], rtol=0, atol=1e-4)
    # <pad> is never a word to guess; fairseq keeps its embedding 0.
    words = [number for number in range(len(ROBERTA_VOCABULARY)) if number != 1]
    torch.testing.assert_close(logits[there][:, words], wanted.logits[there][:, words], rtol=0, atol=1e-4)


LABELS = {0: "very bad", 1: "good", 2: "fair"}


@torch.no_grad()
def test_classes_of_finetuned_models(convert, tmp_path):
    makers = {
        "bert": lambda: save(bert("BertForSequenceClassification", 0.1, id2label=LABELS), tmp_path / "bert"),
        "roberta": lambda: save_roberta(
            roberta("RobertaForSequenceClassification", id2label=LABELS), tmp_path / "roberta"
        ),
    }
    for kind, make in makers.items():
        folder = make()
        theirs = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
        ours, dictionary = convert(folder)
        if kind == "bert":
            tokens = batch(VOCABULARY, (9, 5), WORDS)
            there, inputs = tokens != 0, for_fairseq(tokens, VOCABULARY, dictionary)
        else:
            inputs = tokens = roberta_batch((9, 5))
            there = tokens != 1
        wanted = theirs(tokens, attention_mask=there.long()).logits
        found, _ = ours(inputs, classification_head_name="sentence_classification_head")
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)
        labels = Dictionary.load(str(tmp_path / "out" / "dict.label.txt"))
        assert labels.symbols[labels.nspecial :] == ["very_bad", "good", "fair"]


ROBERTA_MISTAKES = {
    "numbers": (
        lambda folder: (folder / "vocab.json").write_text('{"<s>": 0, "a": 2}'),
        "vocab.json: does not number its entries from 0, each once",
    ),
    "no_vocabulary": (lambda folder: (folder / "vocab.json").unlink(), "tokenizer.json: no such file"),
    "padding": (lambda folder: change_config(folder, pad_token_id=0), "pad_token_id 0 instead of 1"),
    "labels": (lambda folder: change_config(folder, id2label={"0": "a"}), "id2label does not name the 3 classes"),
    "damaged": (
        lambda folder: (as_bin(folder), (folder / "pytorch_model.bin").write_bytes(b"PK weights")),
        "pytorch_model.bin: 10 bytes that are not a readable checkpoint",
    ),
    "code": (
        lambda folder: (as_bin(folder), torch.save({"w": Dictionary}, folder / "pytorch_model.bin")),
        "pytorch_model.bin: unsafe to load",
    ),
    "no_weights": (
        lambda folder: (as_bin(folder), torch.save([torch.zeros(1)], folder / "pytorch_model.bin")),
        "pytorch_model.bin: holds no weights by name",
    ),
}


@pytest.fixture(scope="module")
def finetuned_roberta(tmp_path_factory):
    model = roberta("RobertaForSequenceClassification", id2label=LABELS)
    return save_roberta(model, tmp_path_factory.mktemp("mistakes") / "roberta")


@pytest.mark.parametrize("mistake", ROBERTA_MISTAKES)
def test_what_of_a_roberta_cannot_be_converted(mistake, finetuned_roberta, tmp_path, capsys):
    folder, (change, part) = tmp_path / "roberta", ROBERTA_MISTAKES[mistake]
    shutil.copytree(finetuned_roberta, folder)
    change(folder)
    assert main(["convert", "bert", str(folder), str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert part in line and str(folder) in line and not (tmp_path / "out").exists()


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_cannot_be_converted(mistake, tmp_path, capsys):
    folder, output = save(bert(), tmp_path / "bert"), tmp_path / "out"
    change, parts = MISTAKES[mistake]
    change(folder)
    capsys.readouterr()
    assert main(["convert", "bert", str(folder), str(output)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    for part in parts:
        assert part in line
    assert not output.exists()


def test_an_output_that_is_a_file(tmp_path, capsys):
    folder, output = save(bert(), tmp_path / "bert"), tmp_path / "out.pt"
    output.write_text("")
    assert main(["convert", "bert", str(folder), str(output)]) == 2
    assert "name a folder" in capsys.readouterr().err


def test_without_safetensors(tmp_path, capsys, monkeypatch):
    folder = save(bert(), tmp_path / "bert")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert main(["convert", "bert", str(folder), str(tmp_path / "out")]) == 2
    assert "pip install 'fairseq-lite[bert]'" in capsys.readouterr().err


def test_a_second_conversion_into_the_same_folder(convert, tmp_path):
    folder = save(bert(), tmp_path / "bert")
    convert(folder)
    convert(folder)
    shutil.rmtree(folder)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["dict.txt", "model.pt"]
