"""A user's mistake ends a command on one line that names the option or the file, before anything is written."""

import pytest
from checks import assert_one_line


@pytest.mark.parametrize(
    "option, value",
    [
        ("--encoder-attention-dim", "0"),
        ("--decoder-attention-dim", "64"),
        ("--encoder-self-attention-heads", "3"),
        ("--decoder-conv-heads", "5"),
        ("--encoder-kernel-sizes", "3,5,7"),
        ("--decoder-kernel-sizes", "3,0"),
        ("--encoder-kernel-sizes", "three,five"),
        ("--encoder-conv-type", "circular"),
    ],
)
def test_options_that_do_not_fit(train, tmp_path, option, value):
    process = train(tmp_path / "model", option, value, succeeds=False)
    assert_one_line(process, option, value)
    assert not list(tmp_path.rglob("*.pt"))


def test_kernel_sizes_of_a_language_model(train_language_model, tmp_path):
    process = train_language_model(tmp_path / "model", "--decoder-kernel-sizes", "3", succeeds=False)
    assert_one_line(process, "--decoder-kernel-sizes 3")
    assert not list(tmp_path.rglob("*.pt"))


def test_shared_embeddings_of_two_dictionaries(train, corpus_of_two_dictionaries, tmp_path):
    process = train(tmp_path / "model", "--share-all-embeddings", data=corpus_of_two_dictionaries, succeeds=False)
    assert_one_line(process, "--share-all-embeddings", "--joined-dictionary")
    assert not list(tmp_path.rglob("*.pt"))


@pytest.fixture(scope="module")
def checkpoint(train, tmp_path_factory):
    """A model that takes 8 source positions."""
    folder = tmp_path_factory.mktemp("short")
    train(
        folder, "--max-update", 1, "--max-source-positions", 8,
        "--skip-invalid-size-inputs-valid-test",
    )  # fmt: skip
    return folder / "checkpoint_last.pt"


@pytest.fixture(scope="module")
def generate(run, corpus, plugin):
    def generate(path, *options):
        return run(
            "fairseq-generate", corpus, "--user-dir", plugin, "--cpu", "--path", path, *options,
            succeeds=False,
        )  # fmt: skip

    return generate


def test_sources_longer_than_the_model_takes(generate, checkpoint):
    assert_one_line(generate(checkpoint, "--max-tokens", 2000), "--max-source-positions", "8")


def test_interactive_sources_longer_than_the_model_takes(run, corpus, plugin, checkpoint):
    process = run(
        "fairseq-interactive", corpus, "--user-dir", plugin, "--cpu", "--path", checkpoint,
        "--source-lang", "de", "--target-lang", "en", stdin=" ".join(["w1"] * 20), succeeds=False,
    )  # fmt: skip
    assert_one_line(process, "--max-source-positions", "8")


@pytest.mark.parametrize("command", ["fairseq-generate", "fairseq-lite average"])
@pytest.mark.parametrize("fault", ["truncated", "text", "missing"])
def test_file_that_is_not_a_checkpoint(run, generate, checkpoint, tmp_path, command, fault):
    path = tmp_path / f"{fault}.pt"
    if fault == "truncated":
        path.write_bytes(checkpoint.read_bytes()[:5000])
    elif fault == "text":
        path.write_text("no checkpoint\n")
    if command == "fairseq-generate":
        process = generate(path)
    else:
        output = tmp_path / "average.pt"
        process = run("fairseq-lite", "average", checkpoint, path, output, succeeds=False)
        assert not output.exists()
    assert_one_line(process, str(path))


def test_checkpoint_of_another_architecture(generate, train_language_model, tmp_path):
    train_language_model(tmp_path, "--max-update", 1)
    path = tmp_path / "checkpoint_last.pt"
    assert_one_line(generate(path), str(path))


def test_checkpoint_built_as_another_architecture(generate, checkpoint):
    overrides = "{'encoder_kernel_sizes': '5,7'}"
    assert_one_line(generate(checkpoint, "--model-overrides", overrides), str(checkpoint))


def test_average_of_different_models(run, train, checkpoint, tmp_path):
    train(tmp_path, "--max-update", 1, "--encoder-kernel-sizes", "5,5")
    other, output = tmp_path / "checkpoint_last.pt", tmp_path / "average.pt"
    process = run("fairseq-lite", "average", checkpoint, other, output, succeeds=False)
    assert_one_line(process, str(other))
    assert not output.exists()
