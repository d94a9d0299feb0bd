"""A training whose first updates transfer attention, run in this process."""

import contextlib
import copy
import functools
import shutil

import pytest
import torch
from checks import assert_same_weights
from fairseq import options, tasks
from fairseq.criterions import build_criterion
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.modules import MultiheadAttention
from fairseq.trainer import Trainer
from fairseq_cli import train
from untrained import binarise, write_untrained

from fairseq_lite.checkpoints import read_checkpoint
from fairseq_lite.errors import UserError
from fairseq_lite.modules import FEATURE_MAPS, LinearAttention
from fairseq_lite.modules.attention_transfer import AttentionTransfer, SoftmaxAttention, softmax_in_place
from fairseq_lite.tasks.transfer_options import check_can_transfer

N, LAST = 3, 8
SIZES = "--decoder-embed-dim 16 --decoder-ffn-embed-dim 16 --decoder-layers 2 --decoder-attention-heads 2 --dropout 0.1"
BOTH_SIZES = f"{SIZES} {SIZES.replace('decoder', 'encoder').replace(' --dropout 0.1', '')} --share-all-embeddings"
LM_SIZES = f"{SIZES} --decoder-input-dim 16 --decoder-output-dim 16"
COMMON = (
    "--cpu --optimizer adam --adam-betas (0.9,0.98) --clip-norm 0.01 --weight-decay 0.1 --max-tokens 12 --num-workers 0"
    " --data-buffer-size 0 --disable-validation --no-progress-bar --log-interval 1 --no-epoch-checkpoints --seed 1"
)
SCHEDULE = "--lr 0.005 --lr-scheduler inverse_sqrt --warmup-updates 2 --warmup-init-lr 0.001"
STAGES = {"transfer_updates": N, "transfer_lr": 0.02, "max_update": LAST}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Corpora, and the softmax models mt.pt, narrow.pt (shrunk later) and lm.pt."""
    folder = tmp_path_factory.mktemp("transfer")
    binarise(folder)
    write_untrained(folder, "transformer", BOTH_SIZES, [str(folder / "mt.pt")])
    write_untrained(folder, "transformer_lm", LM_SIZES, [str(folder / "lm.pt")])
    return folder


@functools.cache
def composed(folder, kind, schedule):
    """The configuration of fairseq-train: a translation ("mt") or language model ("lm") from the softmax model."""
    task, arch = {
        "mt": ("finetune_translation", "t2r_transformer --linear-attention causal,cross,encoder"),
        "lm": ("finetune_language_modeling", "t2r_transformer_lm --tokens-per-sample 20 --sample-break-mode eos"),
    }[kind]
    given = f"{folder / kind} --task {task} --arch {arch} --feature-map exp {COMMON} {schedule}"
    given = f"{given} --pretrained {folder / kind}.pt --attention-transfer kl".split()
    parser = options.get_training_parser(task)
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, given))


def configured(folder, kind, schedule=SCHEDULE, **options):
    """The same with other options of the task, the optimization or the checkpoints."""
    cfg = copy.deepcopy(composed(folder, kind, schedule))
    for name, value in options.items():
        for group in (cfg.task, cfg.optimization, cfg.checkpoint):
            if name in group:
                group[name] = value
    return cfg


@contextlib.contextmanager
def trainer_of(cfg):
    """A trainer before its first update, and batches."""
    task = tasks.setup_task(cfg.task)
    task.load_dataset("train")
    trainer = Trainer(cfg, task, task.build_model(cfg.model), build_criterion(cfg.criterion, task))
    batches = list(trainer.get_train_iterator(1, load_dataset=False).next_epoch_itr(shuffle=False))
    yield trainer, batches


def trained(folder, name, cfg):
    cfg.checkpoint.save_dir = str(folder / name)
    train.main(cfg)
    return folder / name


@pytest.fixture(scope="module")
def uninterrupted(folder):
    """A translation model's folder of checkpoints, one an update."""
    return trained(folder, "uninterrupted", configured(folder, "mt", **STAGES, save_interval_updates=1))


def checkpoint(folder, update):
    (path,) = folder.glob(f"checkpoint_*_{update}.pt")
    return path


@pytest.mark.parametrize("update", [N - 1, N, N + 1])
def test_resumed_equals_uninterrupted(folder, uninterrupted, tmp_path, update):
    shutil.copy(checkpoint(uninterrupted, update), tmp_path / "checkpoint_last.pt")
    trained(tmp_path, ".", configured(folder, "mt", **STAGES))
    whole, resumed = (read_checkpoint(str(path / "checkpoint_last.pt")) for path in (uninterrupted, tmp_path))
    assert_same_weights(whole["model"], resumed["model"])
    torch.testing.assert_close(whole["last_optimizer_state"], resumed["last_optimizer_state"], rtol=0, atol=0)


def moved(first, second):
    return {name for name, tensor in first.items() if not torch.equal(tensor, second[name])}


def test_only_maps_move_in_the_transfer_and_a_fresh_optimizer_follows(folder, uninterrupted):
    start = read_checkpoint(str(folder / "mt.pt"))["model"]
    states = {n: read_checkpoint(str(checkpoint(uninterrupted, n))) for n in (1, N - 1, N, N + 1)}
    assert not moved(start, states[N]["model"])
    maps = {name for name in states[N]["model"] if ".feature_map." in name}
    assert moved(states[1]["model"], states[N]["model"]) == maps
    assert moved(states[N]["model"], states[N + 1]["model"]) > maps
    optimizers = {n: state["last_optimizer_state"] for n, state in states.items()}
    assert optimizers[N - 1]["state"] and not optimizers[N]["state"]
    assert all(state["step"] == 1 for state in optimizers[N + 1]["state"].values())
    rates = {n: optimizer["param_groups"][0]["lr"] for n, optimizer in optimizers.items()}
    assert rates == {1: 0.02, N - 1: 0.02, N: 0.001, N + 1: 0.003}
    decays = {n: optimizer["param_groups"][0]["weight_decay"] for n, optimizer in optimizers.items()}
    assert decays == {1: 0.0, N - 1: 0.0, N: 0.1, N + 1: 0.1}


@pytest.mark.parametrize("kind", ["mt", "lm"])
def test_the_loss_is_the_sum_of_the_sublayers_distances(folder, kind):
    with trainer_of(configured(folder, kind, **STAGES)) as (trainer, batches):
        task, model = trainer.task, trainer.get_model()
        assert task.transfers_at(N - 1) and not task.transfers_at(N)
        sample = batches[0]
        loss, tokens, log = task.train_step(sample, model, trainer.criterion, trainer.optimizer, 0)
        model.eval()
        with softmax_in_place(model, make=lambda linear: AttentionTransfer(linear, "kl")) as sublayers:
            out = model(**sample["net_input"])[0]
        assert len(sublayers) == {"mt": 6, "lm": 2}[kind]
        by_hand = 0.0
        for name, sublayer in sublayers.items():
            for b in range(len(sample["target"])):
                length = int(sample["target"][b].ne(1).sum())
                source = sample["net_input"]["src_tokens"][b].ne(1)
                distance = sublayer.distance[b]
                by_hand += distance[source].mean() * length if "encoder." in name else distance[:length].sum()
        torch.testing.assert_close(loss, by_hand)
        assert tokens == sample["ntokens"] == log["sample_size"] and log["loss"] == loss
        assert {name for name, p in model.named_parameters() if p.grad is not None} == {
            name for name, _ in model.named_parameters() if ".feature_map." in name
        }
        with softmax_in_place(model):
            torch.testing.assert_close(model(**sample["net_input"])[0], out)
        assert not any(isinstance(module, SoftmaxAttention) for module in model.modules())


def test_the_log_has_the_mean_distance_a_token_and_validation_the_criterions_loss(folder, caplog):
    with trainer_of(configured(folder, "lm")) as (trainer, batches):
        losses = []
        for sample in batches[:2]:
            loss, tokens, _ = trainer.task.train_step(sample, trainer.model, trainer.criterion, trainer.optimizer, 0)
            losses.append((float(loss), tokens))
        logged = trainer.train_step(batches[:2])
        mean = sum(loss for loss, _ in losses) / sum(tokens for _, tokens in losses)
        assert logged["loss"] == logged["distance"] == pytest.approx(mean, abs=1e-3)
        validated = trainer.valid_step(batches[0])
        assert "nll_loss" not in logged and "distance" not in validated and validated["loss"] > logged["loss"]


def test_batches_of_one_update_count_as_one_batch(folder):
    """Two workers add their gradients as --update-freq does."""
    gradients = []
    for joined in (False, True):
        with trainer_of(configured(folder, "mt", **STAGES)) as (trainer, batches):
            torch.manual_seed(1)
            samples = batches[:2]
            if joined:
                dataset = trainer.task.dataset("train")
                samples = [dataset.collater([dataset[int(i)] for sample in samples for i in sample["id"]])]
            for sample in samples:
                trainer.task.train_step(sample, trainer.model, trainer.criterion, trainer.optimizer, 0)
            gradients.append({name: p.grad for name, p in trainer.model.named_parameters() if p.grad is not None})
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


def test_an_epochs_schedule_and_a_fresh_rate_begin_with_the_second_stage(folder):
    """fixed counts epochs; the first update after the transfer has the rate of the epoch that it is in."""
    cfg = configured(folder, "lm", "--lr 0.1,0.2,0.3,0.4 --lr-scheduler fixed", **STAGES)
    with trainer_of(cfg) as (trainer, _):
        rates = []
        for update in range(N + 2):
            trainer.lr_step_begin_epoch(update + 1)
            rates.append(trainer.get_lr())
            trainer.set_num_updates(update + 1)
            trainer.lr_step(update + 1, 1.0)
        assert rates == [0.02] * N + [0.4, 0.4]


REFUSED = [
    ({"quantize_finetune": 8}, "--attention-transfer kl: not possible with --quantize-finetune"),
    ({"pretrained": None}, "--attention-transfer kl: needs the weights of softmax attention; give --pretrained"),
    ({"transfer_updates": 0}, "--transfer-updates 0: must be at least 1"),
    ({"transfer_updates": 7, "max_update": 6}, "--transfer-updates 7: must be at most --max-update 6"),
    ({"transfer_updates": 3, "transfer_lr": 0.0}, "--transfer-lr 0.0: must be a number above 0"),
    ({"transfer_updates": 3, "transfer_lr": float("nan")}, "--transfer-lr nan: must be a number above 0"),
    ({"transfer_lr": 0.1}, "--transfer-lr 0.1: --attention-transfer kl trains feature maps to the end"),
    ({"train_only": "attention"}, "--train-only attention: --attention-transfer kl trains feature maps to the end"),
    (
        {"transfer_updates": 3, "train_only": "attention", "unfreeze_at": 2},
        "--unfreeze-at 2: must be at least --transfer-updates 3",
    ),
    ({"attention_transfer": None, "transfer_updates": 3}, "--transfer-updates 3: has no effect without --attention-"),
    ({"attention_transfer": None, "transfer_lr": 0.1}, "--transfer-lr 0.1: has no effect without --attention-"),
]


@pytest.mark.parametrize("wrong, message", REFUSED)
def test_refused_before_training(folder, wrong, message):
    cfg = configured(folder, "mt", **wrong)
    with pytest.raises(UserError, match=message) as error, trainer_of(cfg) as (trainer, _):
        trainer.get_lr()
    assert "\n" not in str(error.value)


def test_models_that_have_nothing_to_learn():
    with pytest.raises(UserError, match="--attention-transfer kl: the model has no linear attention"):
        check_can_transfer(torch.nn.Linear(2, 2), "kl")
    attention = MultiheadAttention(4, 2, self_attention=True)
    model = torch.nn.ModuleDict({"self_attn": LinearAttention(attention, FEATURE_MAPS["elu"](2, 2, 2), causal=True)})
    with pytest.raises(UserError, match="the feature map of self_attn has nothing to learn; take one of t2r, exp"):
        check_can_transfer(model, "kl")


def test_a_teacher_without_softmax_attention(folder, uninterrupted):
    cfg = configured(folder, "mt", pretrained=str(uninterrupted / "checkpoint_last.pt"))
    wrong = "checkpoint_last.pt: has linear attention itself, at .*encoder_attn"
    with pytest.raises(UserError, match=wrong), trainer_of(cfg):
        pass
