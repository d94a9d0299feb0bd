"""ROUGE of summaries (Lin, 2004) by the library rouge-score: fairseq-generate's --scoring rouge."""

from dataclasses import dataclass, field
from importlib.metadata import version
from statistics import fmean
from typing import Dict, Optional

from fairseq.dataclass import FairseqDataclass
from fairseq.scoring import BaseScorer, register_scorer

from fairseq_lite.errors import UserError

# fairseq writes an unknown word as <<unk>> in a reference and as <unk> in a hypothesis, so that they never match.
# rouge-score drops the brackets, and then they would.
UNKNOWN_IN_REFERENCE, MATCHES_NOTHING = "<<unk>>", " unknownreferenceword "
KINDS = {"ROUGE-1": "rouge1", "ROUGE-2": "rouge2", "ROUGE-L": "rougeL"}
KINDS_OF_SENTENCES = {"ROUGE-Lsum": "rougeLsum"}


@dataclass
class RougeOptions(FairseqDataclass):
    """How summaries are compared."""

    rouge_unstemmed: bool = field(
        default=False, metadata={"help": "compare words as they are, and not their English stems"}
    )
    rouge_sentence_separator: Optional[str] = field(
        default=None,
        metadata={"help": "what stands between the sentences of a summary, as in '<q>' or ' . '; adds ROUGE-Lsum"},
    )


@register_scorer("rouge", dataclass=RougeOptions)
class RougeScorer(BaseScorer):
    """F1 of ROUGE-1, ROUGE-2 and ROUGE-L, in percent: the means over all summaries.

    Raises UserError without the package rouge-score, and for an empty separator.
    """

    def __init__(self, cfg: RougeOptions):
        super().__init__(cfg)
        try:
            from rouge_score import rouge_scorer
        except ImportError as error:
            raise UserError(f"--scoring rouge: {error}; pip install rouge-score") from None
        self.separator = cfg.rouge_sentence_separator
        if self.separator == "":
            raise UserError("--rouge-sentence-separator '': is empty; give what stands between sentences, as in '<q>'")
        self.kinds = {**KINDS, **(KINDS_OF_SENTENCES if self.separator else {})}
        self._rouge = rouge_scorer.RougeScorer([*self.kinds.values()], use_stemmer=not cfg.rouge_unstemmed)

    def means(self) -> Dict[str, float]:
        """The mean F1 of each kind, 0 to 100, by its name."""
        scores = [self._rouge.score(*map(self._lines, pair)) for pair in zip(self.ref, self.pred)]
        return {name: 100 * fmean(score[kind].fmeasure for score in scores) for name, kind in self.kinds.items()}

    def _lines(self, summary: str) -> str:
        """A summary as rouge-score takes it, with a line for each sentence."""
        summary = summary.replace(UNKNOWN_IN_REFERENCE, MATCHES_NOTHING)
        return summary.replace(self.separator, "\n") if self.separator else summary

    def score(self) -> float:
        """ROUGE-L."""
        return self.means()["ROUGE-L"]

    def result_string(self) -> str:
        """All kinds, and what somebody needs to measure the same."""
        means = " ".join(f"{name} = {mean:.2f}" for name, mean in self.means().items())
        words = "unstemmed" if self.cfg.rouge_unstemmed else "stemmed"
        return f"{means} (F1, mean of {len(self.ref)}, {words}, rouge-score {version('rouge-score')})"
