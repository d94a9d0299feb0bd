"""examples/compression: the table, and which checkpoint each file is made of."""

import pytest
from example_scripts import example
from stand_ins import TRAIN, StandIns, filled

summary = example("compression/summary.py")
PROGRAMS = {
    "python": """case $1 in
        *continuing.py) echo --pretrained "$2" ;;
        *summary.py) cat "$2" ;;
    esac""",
    "fairseq-train": TRAIN,
    # average IN OUT, compress IN OUT ...
    "fairseq-lite": 'cp "$2" "$3"',
    "fairseq-generate": r"printf 'D-0\t0\ttext\n'",
    "sacrebleu": "echo 30.25",
}


def test_table_compares_with_the_first_row(tmp_path):
    path = tmp_path / "bits.tsv"
    path.write_text("32 bits\t2000\t30.5\n4 bits\t100\t30.25\n")
    lines = summary.table(summary.read(path)).splitlines()
    assert lines[2:] == ["| 32 bits | 2,000 | 1.0 | 30.50 | +0.00 |", "| 4 bits | 100 | 20.0 | 30.25 | -0.25 |"]


def test_what_is_no_row_is_named(tmp_path):
    path = tmp_path / "bits.tsv"
    path.write_text("32 bits\t2000\n")
    with pytest.raises(SystemExit, match="line 1"):
        summary.read(path)


@pytest.fixture
def run(tmp_path):
    """Runs the script on a checkpoint of six bytes; what it prints and the calls of each program."""
    programs = StandIns(tmp_path / "programs", PROGRAMS)
    filled(tmp_path, "data/binary/dict.de.txt", "data/reference.de", "model.pt")

    def run(**environment):
        arguments = tmp_path / "data", tmp_path / "model.pt", tmp_path / "out"
        return programs.run("compression/run.sh", *arguments, **environment).stdout, programs.calls()

    return run


def test_a_file_for_each_width_as_it_is_and_finetuned(run):
    table, calls = run(BITS="4 3")
    names = [line.split("\t")[0] for line in table.splitlines()]
    assert names == ["32 bits", "4 bits", "4 bits, finetuned", "3 bits", "3 bits, finetuned"]
    trained = [line[line.index("--quantize-finetune") + 1] for line in calls["fairseq-train"]]
    assert trained == ["4", "3"]
    compressed = [(line[1].rsplit("/")[-1], line[4]) for line in calls["fairseq-lite"] if line[0] == "compress"]
    assert compressed == [("whole.pt", "4"), ("finetuned-4.pt", "4"), ("whole.pt", "3"), ("finetuned-3.pt", "3")]


def test_what_is_there_is_not_made_again(run):
    first, _ = run(BITS="4")
    again, calls = run(BITS="4")
    assert again == first and set(calls) == {"python"}
