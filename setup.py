"""Packaging of fairseq-lite; fairseq itself comes with one of the extras ve, fixed and legacy."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION: dict = {}
exec((HERE / "fairseq_lite/version.py").read_text(encoding="utf-8"), VERSION)

# Every distribution of fairseq owns site-packages/fairseq, so none can be a plain requirement.
# The versions beside each are those it was tested with and breaks without: torchaudio only because
# other releases pull a torch of their own. A version that does not exist ends pip on a Python for which there is no
# fairseq, in a line that names the right one.
FAIRSEQ = {
    "ve": [
        "ve-fairseq==0.12.3; python_version >= '3.11' and python_version < '3.13'",
        "hydra-core==1.3.8; python_version >= '3.11'",
        "omegaconf==2.3.1; python_version >= '3.11'",
        "scikit-learn==1.9.1; python_version >= '3.11'",
        "torchaudio==2.11.0; python_version >= '3.11'",
        "ve-fairseq==0+needs.python.3.11.or.3.12; python_version < '3.11' or python_version >= '3.13'",
    ],
    "fixed": [
        "fairseq-fixed==0.12.3.1; python_version >= '3.11'",
        "fairseq-fixed==0+needs.python.3.11.or.later; python_version < '3.11'",
    ],
    "legacy": [
        "fairseq==0.12.2; python_version < '3.11'",
        "torch==1.12.1; python_version < '3.11'",
        "torchaudio==0.12.1; python_version < '3.11'",
        "numpy<1.24; python_version < '3.11'",
        "fairseq==0+needs.python.3.9.or.3.10; python_version >= '3.11'",
    ],
}

setup(
    name="fairseq-lite",
    version=VERSION["VERSION"],
    description="Small and fast sequence models as a fairseq plugin",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="fairseq_lite authors",
    license="MIT",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        *(f"Programming Language :: Python :: 3{minor}" for minor in ("", ".9", ".10", ".11", ".12")),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    packages=find_packages(include=["fairseq_lite*"]),
    package_data={"fairseq_lite": ["py.typed"]},
    python_requires=">=3.9",
    install_requires=["torch>=1.12", "numpy", "sacrebleu", "fvcore", "rich"],
    extras_require={
        **FAIRSEQ,
        "bert": ["safetensors"],
        "export": ["onnx", "sentencepiece"],
        "test": [
            *("build", "setuptools>=77", "pytest", "pytest-xdist", "ruff", "mypy"),
            *("rouge-score", "safetensors", "tokenizers", "sentencepiece"),
            *("onnx", "onnxruntime; python_version >= '3.11'", "transformers; python_version >= '3.11'"),
        ],
        "examples": ["onnx", "rouge-score", "sentencepiece", "safetensors", "scikit-learn", "tokenizers"],
        "plots": ["matplotlib"],
        "notebook": ["ipykernel", "nbclient", "matplotlib", "onnx"],
        "docs": ["mkdocs-material==9.8.2", "mkdocstrings[python]==1.0.8"],
        "rouge": ["rouge-score"],
    },
    entry_points={"console_scripts": ["fairseq-lite = fairseq_lite.cli:main"]},
)
