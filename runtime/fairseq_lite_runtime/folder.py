"""Opening an exported folder: its files are checked as they are read."""

import hashlib
import json
import os
import re

import onnxruntime

from fairseq_lite_runtime.errors import FolderError

FORMAT = 1
WEIGHTS = "weights.bin"
BLOCK = 1 << 20


class Folder:
    """An exported folder.

    Args:
        path: what fairseq-lite export wrote
        kinds: of model that are wanted: "translation", "language_model", "classification"

    Raises FolderError in one line for a folder that is none, of another kind, newer than this package, damaged, or
    that asks for a newer onnxruntime.
    """

    def __init__(self, path, *kinds):
        self.path = os.fspath(path)
        self.config = self._read_config()
        if self.config["kind"] not in kinds:
            raise FolderError(f"{self.path}: holds a model of the kind {self.config['kind']}, not {' or '.join(kinds)}")
        needed = self.config["onnxruntime"]
        if _numbers(onnxruntime.__version__) < _numbers(needed):
            found = onnxruntime.__version__
            raise FolderError(f"{self.path}: needs onnxruntime {needed}, found {found}; pip install -U onnxruntime")

    def __contains__(self, name):
        return name in self.config["files"]

    def read(self, name):
        """The bytes of a file, which have the hash that config.json names."""
        try:
            with open(self._listed(name), "rb") as file:
                content = file.read()
        except OSError as error:
            raise FolderError(f"{self._join(name)}: cannot be read ({error.strerror}); export again") from None
        self._check(name, hashlib.sha256(content))
        return content

    def read_json(self, name):
        """A file of JSON."""
        return json.loads(self.read(name))

    def session(self, name, threads=1):
        """An onnxruntime session of a graph; threads: those of one operator."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        content = self.read(name)
        if WEIGHTS in self:  # onnxruntime looks for it beside the file of the graph
            self._check(WEIGHTS, self._hash(WEIGHTS))
            content = self._join(name)
        try:
            return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            reason = " ".join(str(error).split())
            raise FolderError(
                f"{self._join(name)}: onnxruntime {onnxruntime.__version__} refuses it ({reason})"
            ) from None

    def _read_config(self):
        if not os.path.isdir(self.path):
            raise FolderError(f"{self.path}: no such folder; give one that fairseq-lite export wrote")
        path = self._join("config.json")
        if not os.path.isfile(path):
            raise FolderError(f"{self.path}: has no config.json; give a folder that fairseq-lite export wrote")
        try:
            with open(path, encoding="utf-8") as file:
                config = json.load(file)
            version = config["format"]
        except (OSError, ValueError, KeyError, TypeError):
            raise FolderError(f"{path}: damaged, or not written by fairseq-lite export; export again") from None
        if version != FORMAT:
            raise FolderError(
                f"{self.path}: has format {version}, this fairseq-lite-runtime reads {FORMAT}; "
                "pip install -U fairseq-lite-runtime"
            )
        missing = [key for key in ("kind", "onnxruntime", "files", "pad", "eos", "unk", "bos") if key not in config]
        if missing:
            raise FolderError(f"{path}: damaged, it lacks {', '.join(missing)}; export again")
        return config

    def _join(self, name):
        return os.path.join(self.path, name)

    def _listed(self, name):
        path = self._join(name)
        if name not in self.config["files"] or not os.path.isfile(path):
            raise FolderError(f"{path}: is missing; copy the whole folder, or export again")
        return path

    def _hash(self, name):
        digest = hashlib.sha256()
        with open(self._listed(name), "rb") as file:
            for block in iter(lambda: file.read(BLOCK), b""):
                digest.update(block)
        return digest

    def _check(self, name, digest):
        if digest.hexdigest() != self.config["files"][name]:
            raise FolderError(f"{self._join(name)}: damaged, its SHA-256 is not that of config.json; export again")


def _numbers(version):
    """1.20.3rc1 -> (1, 20, 3)."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
