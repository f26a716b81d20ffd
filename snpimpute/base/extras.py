"""Optional packages: the extra that brings each, and a one-line error where one is missing."""

from __future__ import annotations

from importlib.util import find_spec

from snpimpute.base.errors import InputError

EXTRAS = {
    "cluster": ("distributed", "fsspec", "s3fs"),
    "networks": ("accelerate", "captum", "keras", "safetensors", "tensorflow", "torch", "transformers"),
    "platform": (
        "fastapi",
        "matplotlib",
        "mlflow",
        "optuna",
        "prefect",
        "psycopg",
        "requests",
        "sqlalchemy",
        "uvicorn",
    ),
    "export": ("onnx", "onnxruntime", "onnxscript"),
    "dashboard": ("starlette", "streamlit"),
    "simulate": ("msprime", "tskit"),
    "zarr": ("bio2zarr", "zarr"),
    "traits": ("gffutils", "lightgbm", "pysusie", "sklearn", "tstrait"),
}
EXTRA_OF = {package: extra for extra, packages in EXTRAS.items() for package in packages}


def require_package(package: str, needed_by: str) -> None:
    """Raise InputError that names the extra unless a package is installed.

    The package is not imported.

    Args:
        package: name under which it is imported.
        needed_by: what needs the package, for the message, as in "imputer dense".
    """
    if not is_installed(package):
        raise InputError(
            f"{needed_by} needs {package}, which is not installed: pip install 'snpimpute[{EXTRA_OF[package]}]'"
        )


def is_installed(package: str) -> bool:
    """Tell whether a package can be imported, without importing it."""
    return find_spec(package) is not None


def not_installed(error: ModuleNotFoundError) -> InputError | None:
    """Return the InputError for an import that failed because an extra is not installed; None for any other module."""
    package = (error.name or "").partition(".")[0]
    if package not in EXTRA_OF:
        return None
    return InputError(f"this needs {package}, which is not installed: pip install 'snpimpute[{EXTRA_OF[package]}]'")
