"""A folder with the files that the examples name."""

import pytest
from saved import save_checkpoint, spread_weights, write_dictionary
from toys import SOURCE, classifier_folder, language_model_folder, translation_folder

from fairseq_lite import export_checkpoint

LITE = "--arch lite_transformer_tiny --source-lang de --target-lang en"
LANGUAGE_MODEL = "--arch lite_transformer_lm_tiny --tokens-per-sample 30"
WORDS = [f"word{number}" for number in range(20)]


def prune(model):
    """Every other neuron of the feed-forward networks is zero, as after a training with pruning."""
    spread_weights(model)
    for name, parameter in model.named_parameters():
        if ".fc1." in name:
            parameter.data[::2] = 0


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    data = folder / "data"
    for name, pieces in {"dict.de.txt": WORDS, "dict.en.txt": WORDS, "dict.txt": SOURCE[4:]}.items():
        write_dictionary(data / name, pieces)
    save_checkpoint(folder / "checkpoint.pt", data, "translation", LITE, train=prune)
    save_checkpoint(folder / "language_model.pt", data, "language_modeling", LANGUAGE_MODEL)
    export_checkpoint(folder / "language_model.pt", folder / "stepper", step=True)
    translation_folder(folder / "translator")
    language_model_folder(folder / "generator")
    classifier_folder(folder / "classifier")
    return folder


@pytest.fixture
def beside_files(files, tmp_path, monkeypatch):
    """The working folder of an example: the files, and room for those that it writes."""
    for path in files.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
