"""examples/summarization: what it cuts, the options that fairseq gets, two models of the same Mult-Adds, the table."""

import pytest
from fairseq import options
from fairseq.models import build_model
from stand_ins import TRAIN, StandIns

from fairseq_lite.building import task_of_sizes
from fairseq_lite.measure.mult_adds import count_mult_adds

# Mean subwords of an e-mail and a subject line of the test set of AESLC, with the end of the sentence.
LENGTHS = (152, 8)
ROUGE = "ROUGE-1 = 30.10 ROUGE-2 = 15.20 ROUGE-L = 29.30 (F1)"
PROGRAMS = {
    # of examples/common/subwords.py
    "python": 'case $2 in learn) echo model >"${!#}" ;; encode) cp "$4" "$5" ;; esac',
    "fairseq-preprocess": 'mkdir "${!#}"; echo a 1 >"${!#}/dict.target.txt"',
    "fairseq-train": TRAIN,
    "fairseq-generate": f'echo "S-0 Generate: ROUGE-1 = 99"; echo "Generate test with beam=4: {ROUGE}"',
    "fairseq-lite": 'echo "total 255.50 M 4.50 M"; echo "  without embeddings 2.88 M"',
}


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    return StandIns(tmp_path_factory.mktemp("summarization") / "programs", PROGRAMS)


@pytest.fixture(scope="module")
def data(programs, tmp_path_factory):
    raw, out = tmp_path_factory.mktemp("raw"), tmp_path_factory.mktemp("data")
    for split in ("train", "valid", "test"):
        (raw / f"{split}.source").write_text("one  two three four\nfive\tsix\n")
        (raw / f"{split}.target").write_text("summary one two three\nsix\n")
    programs.run("summarization/prepare.sh", raw, out, WORDS="3")
    return out


def test_texts_are_cut_and_summaries_are_not(data):
    assert (data / "text/test.source").read_text() == "one two three\nfive six\n"
    assert (data / "reference.target").read_text() == "summary one two three\nsix\n"


def test_a_table_of_two_models_whose_options_fairseq_takes(programs, data, tmp_path):
    table = programs.run("summarization/compare.sh", data, tmp_path, "--cpu").stdout.splitlines()[-2:]
    columns = "255.50 M | 2.88 M | 30.10 | 15.20 | 29.30"
    assert table == [f"| {model} | {columns} |" for model in ("lite", "transformer")]
    lines = programs.calls()
    counted = []
    for line in lines["fairseq-train"]:
        args = parsed(options.get_training_parser(), line)
        assert args.truncate_source and args.cpu
        counted.append(count_mult_adds(build_model(args, task_of_sizes(1000, 1000)), *LENGTHS).total)
    assert len(counted) == 2 and counted[0] == pytest.approx(counted[1], rel=0.03)
    for line in lines["fairseq-generate"]:
        args = parsed(options.get_generation_parser(), line)
        assert (args.scoring, args.beam, args.no_repeat_ngram_size, args.truncate_source) == ("rouge", 4, 3, True)


def test_what_is_there_is_not_made_again(programs, data, tmp_path):
    for models in ("lite", "lite transformer"):
        programs.run("summarization/compare.sh", data, tmp_path, MODELS=models)
    assert len(programs.calls()["fairseq-train"]) == 2


def test_an_unknown_model_is_named(programs, data, tmp_path):
    process = programs.run("summarization/train.sh", data, tmp_path, MODEL="huge", succeeds=False)
    assert process.stderr.startswith("train.sh: MODEL=huge")


def parsed(parser, line):
    """What fairseq makes of a command line; the plugin is imported already."""
    at = line.index("--user-dir")
    return options.parse_args_and_arch(parser, line[:at] + line[at + 2 :])
